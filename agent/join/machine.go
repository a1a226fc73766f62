package join

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Identity is what tells this machine from others.
type Identity struct {
	Node    string // the name of its lines
	Machine string // SHA-256 in hex
}

// identify makes out what this machine is. A card that was copied into another
// board has the same name and machine-id, and another serial number.
func (s *Setup) identify(name string) (Identity, error) {
	if name == "" {
		name, _ = os.Hostname() // an empty one is refused below
	}
	if name == "" || strings.HasPrefix(name, "localhost") {
		return Identity{}, errors.New("this machine has no host name of its own: set one (hostnamectl hostname NAME), or give --name NAME")
	}
	id, serial := s.line("/etc/machine-id"), s.serial()
	if id == "" && serial == "" {
		return Identity{}, errors.New("nothing tells this machine from others: make /etc/machine-id (systemd-machine-id-setup, or dbus-uuidgen --ensure=/etc/machine-id)")
	}
	sum := sha256.Sum256([]byte("vitals:" + id + serial))
	return Identity{Node: name, Machine: hex.EncodeToString(sum[:])}, nil
}

// unset are the serial numbers of boards whose maker gave them none.
var unset = []string{
	"0000000000000000", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
	"03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc",
}

// serial is a number of the board, whatever it has.
func (s *Setup) serial() string {
	for _, path := range []string{"/proc/device-tree/serial-number", "/sys/class/dmi/id/product_uuid"} {
		if text := strings.ToLower(s.line(path)); text != "" && !slices.Contains(unset, text) {
			return text
		}
	}
	var macs []string
	paths, _ := filepath.Glob(s.path("/sys/class/net/*/device")) // only devices have one
	for _, path := range paths {
		text, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "address"))
		if mac, err := net.ParseMAC(strings.TrimSpace(string(text))); err == nil && strings.Trim(mac.String(), "0:") != "" {
			macs = append(macs, mac.String())
		}
	}
	if len(macs) == 0 {
		return ""
	}
	return slices.Min(macs)
}

// isPi reports whether this is a Raspberry Pi.
func (s *Setup) isPi() bool {
	return strings.HasPrefix(s.line("/proc/device-tree/model"), "Raspberry Pi")
}

// line is what a small file says, empty without one.
func (s *Setup) line(path string) string {
	text, err := os.ReadFile(s.path(path))
	if err != nil {
		return ""
	}
	return strings.Trim(string(text), " \t\r\n\x00")
}
