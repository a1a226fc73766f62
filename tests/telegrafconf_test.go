package tests

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// taker is a server that takes every write of either version of the API.
type taker struct {
	*httptest.Server
	mu    sync.Mutex
	lines []string
	auth  []string
}

func newTaker(t *testing.T) *taker {
	k := &taker{}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/query" {
			io.WriteString(w, `{"results":[{"statement_id":0}]}`)
			return
		}
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		text, err := io.ReadAll(body)
		if err != nil || r.URL.Path != "/write" && r.URL.Path != "/api/v2/write" {
			http.Error(w, "no write", http.StatusBadRequest)
			return
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.lines = append(k.lines, strings.Split(strings.TrimSpace(string(text)), "\n")...)
		k.auth = append(k.auth, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(k.Close)
	return k
}

// measurements are those that have been written.
func (k *taker) measurements() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []string
	for _, l := range k.lines {
		all = append(all, l[:strings.IndexAny(l, ", ")])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// remark is what follows "# name: " in a file.
func remark(text, name string) []string {
	_, rest, _ := strings.Cut(text, "\n# "+name+": ")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}

// TestFilesForTelegraf runs files as people write them for Telegraf through
// config check and --once, and wants the lines that each says it yields.
func TestFilesForTelegraf(t *testing.T) {
	found, err := filepath.Glob("telegraf-conf/*")
	if err != nil || len(found) < 5 {
		t.Fatal(found, err)
	}
	for _, path := range found {
		t.Run(filepath.Base(path), func(t *testing.T) {
			args, from := []string{"--config", abs(t, path)}, path
			if strings.HasSuffix(path, ".d") {
				args[0], from = "--config-directory", filepath.Join(path, "00-agent.conf")
			}
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, remark(string(text), "check")...)
			m, server := newMachine(t), newTaker(t)
			m.file("secrets/influx_token", "canary-token\n")
			m.env = append(m.env, "INFLUX_URL="+server.URL, "INFLUX_PASSWORD=canary-password", "STATE="+m.dir, "SECRETS="+m.dir+"/secrets",
				"VM_NAME=vm17", "INTERVAL=15", "BATCH=250", "QUIET=false", "PERCPU=false")
			stdout, stderr, code := run(t, m.command("vitals-agent", append([]string{"config", "check"}, args...)...))
			if code != 0 || !strings.Contains(stdout, "no mistake in the agent's part; ") {
				t.Fatalf("config check ends with %d: %s%s", code, stdout, stderr)
			}
			said := stdout + stderr
			stdout, stderr, code = run(t, m.command("vitals-agent", append([]string{"--once", "--debug"}, args...)...))
			if code != 0 {
				t.Fatalf("--once ends with %d: %s%s", code, stdout, stderr)
			}
			got, want := server.measurements(), remark(string(text), "lines")
			for _, name := range want {
				if !slices.Contains(got, name) {
					t.Errorf("no line of %s arrives, only of %v\n%s", name, got, stderr)
				}
			}
			for _, name := range got {
				if !slices.Contains(want, name) && name != "temp" && name != "linux_cpu" && name != "disk" {
					t.Errorf("lines of %s arrive, which the file does not speak of", name)
				}
			}
			if said += stdout + stderr; strings.Contains(said, "canary") {
				t.Errorf("a secret is told:\n%s", said)
			}
			check(t, filepath.Base(path), server, m)
		})
	}
}

// check looks at what is special about a file.
func check(t *testing.T, name string, server *taker, m *machine) {
	t.Helper()
	all := strings.Join(server.lines, "\n")
	wanted := map[string][]string{
		"pi.conf":  {"mem,host=pi-attic,location=attic ", "exec_temperature,host=pi-attic,location=attic value=42.5 "},
		"nas.conf": {"mem,role=nas available=", "diskio,name=", "pool=tank", "role=nas"},
		"vm.conf":  {"mem,env=prod,host=vm17 ", "net_eth,env=prod,host=vm17,interface=lo "},
	}
	for _, w := range wanted[name] {
		if !strings.Contains(all, w) {
			t.Errorf("%q is not in what arrived:\n%s", w, all)
		}
	}
	unwanted := map[string][]string{
		"pi.conf":  {"cpu=cpu-total,host=pi-attic,location=attic time_"},
		"nas.conf": {"host=", "uptime_format", "cpu=cpu0", "mem,role=nas active="},
		"vm.conf":  {"cpu=cpu0", "processes,"},
	}
	for _, w := range unwanted[name] {
		if strings.Contains(all, w) {
			t.Errorf("%q is in what arrived:\n%s", w, all)
		}
	}
	if name == "nas.conf" {
		if !slices.Contains(server.auth, "Token canary-token") {
			t.Errorf("the secret is not used: %q", server.auth)
		}
		copied, err := os.ReadFile(filepath.Join(m.dir, "metrics.out"))
		if err != nil || !strings.HasPrefix(string(copied), "mem,role=nas ") || strings.Contains(string(copied), "cpu") {
			t.Errorf("the copy: %s, %v", copied, err)
		}
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
