package join

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	stateDirectory   = "/var/lib/vitals"
	notePath         = stateDirectory + "/join.json"
	secretsDirectory = "/etc/vitals/secrets"
	tokenPath        = secretsDirectory + "/relay"
)

// Note is what is kept of a joining, in join.json. The token is not in it.
type Note struct {
	Relay    string            `json:"relay"`
	Pin      string            `json:"pin,omitempty"`
	Node     string            `json:"node"`
	Machine  string            `json:"machine"`
	TokenID  string            `json:"token_id"`
	Database string            `json:"database"`
	Tags     map[string]string `json:"tags,omitempty"`
	Interval string            `json:"interval"`
	When     time.Time         `json:"joined"`
	NodeFile string            `json:"node_file"`
	// Sum is the SHA-256 of the node file as it was written, and Replaces of the
	// one that had its place.
	Sum      string   `json:"node_file_sha256"`
	Replaces string   `json:"replaces_sha256,omitempty"`
	Before   string   `json:"node_file_before,omitempty"` // where the one is kept that joining has not written
	Copied   bool     `json:"node_file_copied,omitempty"` // there, by this joining
	Made     []string `json:"made,omitempty"`             // directories
}

func (n *Note) encode() []byte {
	text, _ := json.MarshalIndent(n, "", "  ") // nothing in it can fail
	return append(text, '\n')
}

// readNote returns what is known of an earlier joining; nil if there was none.
func (s *Setup) readNote() (*Note, error) {
	text, err := os.ReadFile(s.path(notePath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	n := new(Note)
	if err == nil {
		if err = json.Unmarshal(text, n); err != nil {
			err = fmt.Errorf("%s: %w; remove it to join anew", notePath, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read what was joined: %w", err)
	}
	return n, nil
}

// fits reports whether this machine has joined that relay before, under the
// name that is asked for if there is one.
func (n *Note) fits(relay *Relay, me Identity, name string) bool {
	return n != nil && n.Relay == relay.String() && n.Pin == relay.Pin() && n.Machine == me.Machine && (name == "" || name == n.Node)
}

// token is this node's own.
func (s *Setup) token() (string, error) {
	text, err := os.ReadFile(s.path(tokenPath))
	if err != nil {
		return "", fmt.Errorf("read this node's token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

// fileSum is the SHA-256 of a file, empty if there is none.
func fileSum(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return sum(text), err
}

// nodeFile is the node file for what was joined. No template makes it: those
// look methods up by their names, and the linker would keep every method of
// every type, which made the agent a tenth larger.
func (n *Note) nodeFile(secrets string, pi bool) []byte {
	var b bytes.Buffer
	line := func(format string, values ...any) { fmt.Fprintf(&b, format+"\n", values...) }
	line("# Written by vitals-agent join on %s for the relay %s", n.When.Format(time.DateOnly), n.Relay)
	line("# Every option is in config.example.toml; after a change: vitals-agent reload\n")
	line("[agent]\n  interval = %s", quote(n.Interval))
	line("  hostname = %s  # the only node whose lines the token is for\n", quote(n.Node))
	if len(n.Tags) > 0 {
		line("[global_tags]")
		for _, key := range slices.Sorted(maps.Keys(n.Tags)) {
			line("  %s = %s", quote(key), quote(n.Tags[key]))
		}
		line("")
	}
	b.WriteString(`[[inputs.cpu]]
  report_frequency = true
[[inputs.ram]]
[[inputs.swap]]
[[inputs.temperature]]
[[inputs.node]]
[[inputs.system]]
[[inputs.disk]]
  ignore_fs = ["tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs"]
`)
	if pi {
		line("[[inputs.raspberrypi]]")
	}
	line("\n[[secretstores.files]]\n  id = \"vitals\"\n  path = \"%s\"\n", secrets)
	line("[[outputs.influxdb]]\n  urls = [%s]", quote(n.Relay))
	if n.Pin != "" {
		line("  tls_pin = %s", quote(n.Pin))
	}
	line("  database = %s", quote(n.Database))
	b.WriteString(`  skip_database_creation = true
  username = "vitals"
  password = "@{vitals:relay}"
`)
	return b.Bytes()
}

// quote makes a string of TOML, in which no variable is replaced and no secret.
func quote(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b) // whose strings are TOML's, too
	e.SetEscapeHTML(false)
	_ = e.Encode(text)
	return strings.TrimSuffix(b.String(), "\n")
}
