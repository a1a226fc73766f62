package system

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rpicluster/vitals/plugins"
)

// uptime asks sysinfo(2), as Telegraf does. Where HOST_PROC says which machine
// is meant, its uptime is read instead, since the call can only answer for the
// one that this process runs on.
func uptime() (seconds uint64, err error) {
	if os.Getenv("HOST_PROC") != "" {
		return uptimeFile()
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("read uptime: %w", err)
	}
	return uint64(info.Uptime), nil
}

func uptimeFile() (uint64, error) {
	data, err := os.ReadFile(plugins.HostProc("uptime"))
	if err != nil {
		return 0, fmt.Errorf("read uptime: %w", err)
	}
	word, _, _ := strings.Cut(string(data), " ")
	up, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
	if err != nil || up < 0 {
		return 0, fmt.Errorf("read uptime from %s: no time in %q", plugins.HostProc("uptime"), data)
	}
	return uint64(math.Ceil(up)), nil // sysinfo(2) counts the second under way too
}
