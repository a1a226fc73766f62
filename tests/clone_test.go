package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/relay/fleet"
)

// A card that was copied into a second board: name, token and node file are the
// same, only the addresses are not.
func TestACopiedCardIsNoticed(t *testing.T) {
	t.Parallel()
	m, port := newMachine(t), freePort(t)
	for _, address := range []string{"127.0.0.7", "127.0.0.8"} { // not every system has them all
		l, err := net.Listen("tcp", address+":0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	m.start("vitals-relay", "--config", m.file("relay.toml", fmt.Sprintf(`[relay]
  listen = "127.0.0.1:%d"
  data_directory = "$DIR/relay"
[relay.auth]
  mode = "required"
[[relay.alerts]]
  kind = "conflict"
  for = "1s"
`, port)))
	var token struct{ Token string }
	var reader struct{ Token string }
	eventually(t, time.Minute, func() string {
		stdout, stderr, code := run(t, m.command("vitals-relay", "token", "create", "--node", "pi-7", "--json"))
		if code != 0 || json.Unmarshal([]byte(stdout), &token) != nil {
			return stderr
		}
		return ""
	})
	if stdout, stderr, code := run(t, m.command("vitals-relay", "token", "create", "--role", "read", "--json")); code != 0 || json.Unmarshal([]byte(stdout), &reader) != nil {
		t.Fatal(stderr)
	}
	var agents []*process
	for i := range 2 {
		b := newMachine(t)
		agents = append(agents, b.start("vitals-agent", "--config", b.file("node.toml", fmt.Sprintf(`[agent]
  interval = "1s"
  flush_interval = "1s"
  hostname = "pi-7"
  buffer_directory = "$DIR/buffer"
[[inputs.ram]]
[[outputs.influxdb]]
  urls = ["http://127.0.0.1:%d"]
  database = "node_vitals"
  skip_database_creation = true
  local_address = "127.0.0.%d"
  username = "vitals"
  password = %q
`, port, 7+i, token.Token))))
	}
	nodes := func() (list []fleet.Node) {
		stdout, _, code := run(t, m.command("vitals-relay", "nodes", "--json"))
		if code != 0 || json.Unmarshal([]byte(stdout), &list) != nil {
			return nil
		}
		return list
	}
	eventually(t, 2*time.Minute, func() string {
		list := nodes()
		if len(list) != 1 || !slices.Equal(list[0].Conflict, []string{"127.0.0.7", "127.0.0.8"}) {
			return fmt.Sprintf("%+v", list)
		}
		return ""
	})
	stdout, stderr, _ := run(t, m.command("vitals-relay", "nodes"))
	if !strings.Contains(stdout, "name conflict") || !strings.Contains(stdout, "from 127.0.0.7 and 127.0.0.8") || !strings.Contains(stdout, "vitals-relay invite") {
		t.Errorf("%s%s", stdout, stderr)
	}
	page := readAs(t, fmt.Sprintf("http://127.0.0.1:%d/nodes/pi-7", port), reader.Token)
	if !strings.Contains(page, "from 127.0.0.7 and 127.0.0.8") || !strings.Contains(page, "sudo vitals-relay invite") {
		t.Errorf("the page: %.1500s", page)
	}
	eventually(t, time.Minute, func() string {
		if stdout, _, _ := run(t, m.command("vitals-relay", "alerts", "list")); !strings.Contains(stdout, "127.0.0.7") {
			return stdout
		}
		return ""
	})
	// One of them goes: that is no conflict any more.
	agents[1].stop()
	eventually(t, 2*time.Minute, func() string {
		if list := nodes(); len(list) != 1 || len(list[0].Conflict) > 0 {
			return fmt.Sprintf("%+v", list)
		}
		return ""
	})
}

// readAs returns what an address answers to who shows a token.
func readAs(t *testing.T, url, token string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
