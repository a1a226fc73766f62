package tests

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestInternalIsTelegrafs runs Telegraf and the agent with the same file and
// compares what they say of themselves: every series, every field and its type.
// The values are of two programs.
func TestInternalIsTelegrafs(t *testing.T) {
	t.Parallel()
	telegraf := buildTelegraf(t)
	db := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(db.Close)
	for _, perInstance := range []bool{false, true} {
		t.Run(fmt.Sprint("per instance ", perInstance), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			say := func(name, program, extra string) reading {
				file := m.file(name+".conf", fmt.Sprintf(`
[agent]
  interval = "1s"
  flush_interval = "500ms"
  hostname = "node"
  buffer_directory = "$DIR/buffer"
[[inputs.cpu]]
[[inputs.swap]]
[[inputs.swap]]
  alias = "again"
  name_suffix = "_again"
[[inputs.internal]]
  collect_gostats = true
  per_instance = %v
  %s
[[outputs.file]]
  files = ["$DIR/%s.lines"]
[[outputs.influxdb]]
  urls = [%q]
  skip_database_creation = true
`, perInstance, extra, name, db.URL))
				p := m.start(program, "--config", file)
				eventually(t, 60*time.Second, func() string {
					if !p.running() {
						t.Fatalf("%s does not run", program)
					}
					return map[bool]string{true: "nothing was written yet"}[wrote(t, m.read(name+".lines")) == 0]
				})
				p.stop()
				return ofItself(t, m.read(name+".lines"))
			}
			ours, theirs := say("ours", "vitals-agent", "collect_plugins = false"), say("theirs", telegraf, "")
			for _, d := range differences(ours, theirs, func(string, any, any) bool { return true }) {
				t.Error(d)
			}
			if len(theirs) < 8 {
				t.Errorf("Telegraf tells of %d series", len(theirs))
			}
		})
	}
}

// wrote is how many lines the program has written, by its own account.
func wrote(t *testing.T, text string) (n int64) {
	t.Helper()
	for _, p := range points(t, text, "internal_agent") {
		n = p.fields["metrics_written"].(int64)
	}
	return n
}

// ofItself is the last of each series that a program tells of itself. What
// cannot be the same is replaced: its version, and how it tells tables apart.
// Telegraf counts its serializers as well; we have none.
func ofItself(t *testing.T, text string) reading {
	t.Helper()
	last := map[string]point{}
	for _, p := range parse(t, text) {
		if !strings.HasPrefix(p.name, "internal_") || p.name == "internal_serializer" {
			continue
		}
		p.tags = maps.Clone(p.tags)
		for _, tag := range []string{"version", "_id"} {
			if p.tags[tag] != "" {
				p.tags[tag] = "there"
			}
		}
		last[p.name+fmt.Sprint(p.tags)] = p
	}
	all := reading{}
	for _, p := range last {
		all.add(p)
	}
	return all
}
