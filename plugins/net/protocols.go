package net

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// protocols are those of /proc/net/snmp that Telegraf tells.
var protocols = []string{"ip", "icmp", "icmpmsg", "tcp", "udp", "udplite"}

// addProtocols adds a field for each counter of /proc/net/snmp, where two lines
// belong together:
//
//	Udp: InDatagrams NoPorts
//	Udp: 42 0
func addProtocols(p *plugins.Point) error {
	path := plugins.HostProc("net/snmp")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for ; len(lines) >= 2; lines = lines[2:] {
		names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
		if len(names) == 0 || len(names) != len(values) || names[0] != values[0] {
			return fmt.Errorf("%s: %q and %q do not belong together", path, lines[0], lines[1])
		}
		protocol := strings.ToLower(strings.TrimSuffix(names[0], ":"))
		if !slices.Contains(protocols, protocol) {
			continue
		}
		for i, name := range names[1:] {
			n, err := strconv.ParseInt(values[i+1], 10, 64)
			if err != nil {
				return fmt.Errorf("%s: %s %s: %w", path, protocol, name, err)
			}
			p.Int(protocol+"_"+strings.ToLower(name), n)
		}
	}
	return nil
}
