package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A disk without room gives no invite and no token, and what was tried is done
// when there is room.
func TestJoiningARelayWhoseDiskIsFull(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mount a small disk")
	m, port := newMachine(t), freePort(t)
	m.mount("none", "disk", "-t", "tmpfs", "-o", "size=2m,nr_inodes=100")
	m.start("vitals-relay", "--config", m.file("node.toml", fmt.Sprintf(`[relay]
  listen = "127.0.0.1:%d"
  data_directory = "$DIR/disk/relay"
[relay.auth]
  mode = "required"
[relay.queue]
  min_free_bytes = "0"
`, port)))
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	invite := func() (code, stderr string) {
		var out struct{ Code string }
		stdout, stderr, exit := run(t, m.command("vitals-relay", "invite", "--url", url, "--json"))
		if exit == 0 && json.Unmarshal([]byte(stdout), &out) != nil {
			t.Fatal(stdout)
		}
		return out.Code, stderr
	}
	join := func(code, node string) (status int, word string) {
		t.Helper()
		body, err := json.Marshal(map[string]string{"code": code, "node": node, "machine": strings.Repeat("a1", 32)})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(url+"/join", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var out struct{ Code, Token string }
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || (out.Token == "") == (resp.StatusCode == 200) {
			t.Fatalf("%s: %+v, %v", resp.Status, out, err)
		}
		return resp.StatusCode, out.Code
	}
	var code string
	eventually(t, time.Minute, func() (stderr string) {
		code, stderr = invite()
		if code != "" {
			return ""
		}
		return stderr
	})
	random := rand.New(rand.NewPCG(faultSeed(t), 9))
	for i, names := range []bool{false, true} {
		node := fmt.Sprintf("pi-%d", i)
		m.fill("disk", names, random)
		if code, stderr := invite(); code != "" || !strings.Contains(stderr, "no space left") {
			t.Errorf("an invite without room for it: %s", stderr)
		}
		if status, word := join(code, node); status != 503 || word != "unavailable" {
			t.Errorf("without room: %d %s", status, word)
		}
		m.free("disk")
		if status, word := join(code, node); status != 200 {
			t.Errorf("with room: %d %s", status, word)
		}
		left, err := filepath.Glob(m.path("disk/relay/.*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%q is left, %v", left, err)
		}
		if code, _ = invite(); code == "" {
			t.Fatal("there is room, and no invite")
		}
	}
	stdout, _, _ := run(t, m.command("vitals-relay", "token", "list", "--json"))
	var tokens []struct{ Node string }
	if err := json.Unmarshal([]byte(stdout), &tokens); err != nil || len(tokens) != 2 {
		t.Errorf("%v: %s", err, stdout)
	}
}
