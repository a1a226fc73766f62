package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// TestSecretsAreNeverTold runs an agent whose secrets are everywhere, with all
// that can go wrong with them, at debug level; and looks for them in what it
// logs, answers and prints.
func TestSecretsAreNeverTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized) // and quotes what it was given
		fmt.Fprintf(w, `{"code":"unauthorized","message":"no %s for %q at %s"}`, r.Header.Get("Authorization"), r.Header.Get("X-Key"), r.URL)
	}))
	defer server.Close()
	m := newMachine(t)
	m.file("secrets/token", "canary-\"token\"/1\n")
	m.file("secrets/key", "canary-key\n")
	m.env = append(m.env, "CREDENTIALS_DIRECTORY="+m.dir+"/secrets", "V_PASSWORD=canary pass+word")
	node := `
[agent]
  interval = "1s"
  flush_interval = "1s"
  buffer_directory = "$DIR/buffer"
[[secretstores.systemd]]
  id = "systemd"
[[secretstores.environment]]
  id = "env"
  prefix = "V_"
[[outputs.influxdb_v2]]
  urls = ["` + server.URL + `"]
  token = "@{systemd:token}"
  bucket = "@{systemd:key}"
  [outputs.influxdb_v2.http_headers]
    X-Key = "@{systemd:key}"
[[outputs.influxdb]]
  urls = ["http://@{systemd:key}.invalid:8086"]
  username = "u"
  password = "@{env:PASSWORD}"
[[inputs.mem]]
[[inputs.exec]]
  commands = ["sh -c 'echo @{systemd:key} >&2; exit 3'", "/no/such/@{systemd:key}"]
  log_stderr = true
  data_format = "influx"
`
	config := m.file("node.toml", node)
	agent := m.start("vitals-agent", "--config", config, "--debug")
	var told strings.Builder
	ask := func(args ...string) string {
		stdout, stderr, _ := run(t, m.command("vitals-agent", args...))
		told.WriteString(stdout + stderr)
		return stdout + stderr
	}
	eventually(t, 2*time.Minute, func() string {
		status := ask("status")
		for _, trouble := range []string{"401", "no such host", "exec: "} {
			if !strings.Contains(status, trouble) && !(trouble == "no such host" && strings.Contains(status, "lookup ")) {
				return "status tells of no " + trouble + ":\n" + status
			}
		}
		return ""
	})
	ask("status", "--json")
	for _, mistake := range []string{`log_level = "@{systemd:key}"`, `interval = "@{systemd:token}"`, `percpu = "@{env:PASSWORD}"`} {
		m.file("node.toml", node+"[[inputs.cpu]]\n  "+mistake+"\n")
		if said := ask("reload"); !strings.Contains(said, "***") {
			t.Errorf("a reload says nothing of %s: %s", mistake, said)
		}
		ask("config", "check", "--config", config)
		ask("status")
	}
	m.file("node.toml", node)
	ask("--config", config, "--once", "--debug")
	ask("--config", config, "--test", "--debug")
	agent.stop()
	log, err := os.ReadFile(agent.log)
	if err != nil {
		t.Fatal(err)
	}
	told.Write(log)
	if !strings.Contains(told.String(), "***") {
		t.Error("nothing was blotted out, so nothing was tried")
	}
	for line := range strings.Lines(told.String()) {
		if strings.Contains(line, "canary") || strings.Contains(line, "pass+word") {
			t.Errorf("a secret is told: %s", line)
		}
	}
}
