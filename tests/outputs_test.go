package tests

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// scripted is a server that answers writes as it is told.
type scripted struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(w http.ResponseWriter, text string) (stored bool)
	lines  map[string]int // how often each was stored
}

func newScripted(t *testing.T) *scripted {
	s := &scripted{lines: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		text, err := io.ReadAll(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.answer != nil && !s.answer(w, string(text)) {
			return
		}
		if s.answer == nil {
			w.WriteHeader(http.StatusNoContent)
		}
		for l := range strings.Lines(string(text)) {
			s.lines[l]++
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *scripted) answers(answer func(w http.ResponseWriter, text string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// times is how often each of the lines was stored, if that is the same for all.
func (s *scripted) times(lines string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[int]int{}
	for l := range strings.Lines(lines) {
		counts[s.lines[l]]++
	}
	return fmt.Sprint(counts)
}

func busy(w http.ResponseWriter, _ string) bool {
	w.WriteHeader(http.StatusServiceUnavailable)
	return false
}

const bufferNode = `
[agent]
  interval = "1s"
  flush_interval = "1s"
  hostname = "n1"
  buffer_directory = "$DIR/buffer"
[[inputs.ram]]
[[inputs.swap]]
`

func (m *machine) says(words ...string) string {
	m.t.Helper()
	stdout, stderr, code := run(m.t, m.command("vitals-agent", words...))
	if code != 0 {
		return fmt.Sprintf("%sexit code %d: %s", stdout, code, stderr)
	}
	return stdout
}

func (m *machine) until(what string, words []string, pattern string) (said string) {
	m.t.Helper()
	want := regexp.MustCompile(pattern)
	eventually(m.t, 2*time.Minute, func() string {
		if said = m.says(words...); want.MatchString(said) {
			return ""
		}
		return what + ":\n" + said
	})
	return said
}

// What an output that is gone has left is found, shown, and sent by another;
// what a server refuses is shown with its reason and sent again.
func TestBuffersOfARunningAgent(t *testing.T) {
	m := newMachine(t)
	list := []string{"buffer", "list"}
	dead := fmt.Sprintf("[[outputs.influxdb]]\n  urls = [\"http://127.0.0.1:%d\"]\n  skip_database_creation = true\n  timeout = \"1m\"\n", freePort(t))
	file := m.file("node.toml", bufferNode+dead+"  alias = \"old\"\n")
	agent := m.start("vitals-agent", "--config", file)
	m.until("both inputs gather", []string{"status"}, `(?m)^\S+ +ok .*\n\S+ +ok `)
	m.until("it waits", list, `(?m)^old +old +[1-9]`)
	agent.stop()

	s := newScripted(t)
	s.answers(busy)
	m.file("node.toml", bufferNode+strings.Replace(dead, "urls = ", "alias = \"a\"\n  urls = [\""+s.URL+"\"] # ", 1))
	agent = m.start("vitals-agent", "--config", file)
	m.until("the orphan is seen", list, `(?m)^old +none \(orphan\) +[1-9]`)
	left := m.says("buffer", "show", "old", "--limit", "0")
	if !regexp.MustCompile(`(?m)^mem,host=n1 .* \d+$`).MatchString(left) {
		t.Errorf("buffer show: %s", left)
	}
	if got := m.says("buffer", "replay", "old"); !strings.Contains(got, "--to") {
		t.Errorf("without a target: %s", got)
	}
	if got, want := m.says("buffer", "replay", "old", "--to", "a"), fmt.Sprintf("old: %d lines queued to be sent by a\n", strings.Count(left, "\n")); got != want {
		t.Errorf("replay: %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "buffer", "old")); err == nil {
		t.Error("the orphan is still there")
	}
	s.answers(nil)
	eventually(t, 2*time.Minute, func() string {
		if got := s.times(left); got != fmt.Sprintf("map[1:%d]", strings.Count(left, "\n")) {
			return "stored so often: " + got
		}
		return ""
	})

	s.answers(func(w http.ResponseWriter, text string) bool {
		if !strings.Contains(text, "swap,") {
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"swap is not wanted"}`)
		return false
	})
	m.until("something was refused", list, `(?m)^a +a .* [1-9]\d*$`)
	s.answers(nil)
	aside := m.says("buffer", "show", "a", "--rejected", "--limit", "0")
	if !regexp.MustCompile(`(?m)^# \S+Z .*swap is not wanted\nswap,host=n1 `).MatchString(aside) {
		t.Errorf("what was refused: %s", aside)
	}
	m.until("it is sent again", []string{"buffer", "replay", "a"}, `a: \d+ lines? queued`)
	again := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(aside, "")
	eventually(t, 2*time.Minute, func() string {
		if got := s.times(again); strings.Contains(got, "0:") {
			return "stored so often: " + got
		}
		return ""
	})
	s.answers(busy)
	m.until("it waits", list, `(?m)^a +a +[1-9]`)
	if got := m.says("buffer", "purge", "a"); !regexp.MustCompile(`^a: gone are [1-9]\d* lines that waited and 0`).MatchString(got) {
		t.Errorf("purge: %s", got)
	}
	agent.stop()
	if got := m.says("buffer", "list", "--config", file); !strings.Contains(got, "\na ") {
		t.Errorf("without an agent: %s", got)
	}
}

func TestSIGUSR1SendsEverything(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := newScripted(t)
	node := strings.Replace(bufferNode, `flush_interval = "1s"`, `flush_interval = "1h"`, 1)
	agent := m.start("vitals-agent", "--config", m.file("node.toml", node+"[[outputs.influxdb_v2]]\n  bucket = \"b\"\n  urls = [\""+s.URL+"\"]\n"))
	m.until("something waits", []string{"status"}, `(?m)^influxdb_v2 +\S+ +\d+ +[1-9]`)
	stored := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.lines)
	}
	before := stored()
	if err := agent.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, func() string {
		if stored() == before {
			return "nothing was sent"
		}
		return ""
	})
	agent.stop()
}

// A url that was wrong is corrected while the agent runs, and what had waited is
// sent, once.
func TestACorrectedURLSendsTheBacklog(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := newScripted(t)
	output := fmt.Sprintf("[[outputs.influxdb]]\n  skip_database_creation = true\n  urls = [\"http://127.0.0.1:%d\"]\n", freePort(t))
	file := m.file("node.toml", bufferNode+output)
	agent := m.start("vitals-agent", "--config", file)
	m.until("it waits", []string{"buffer", "list"}, `(?m)^influxdb +influxdb +([4-9]|\d\d)`)
	left := m.says("buffer", "show", "influxdb", "--limit", "0")
	m.file("node.toml", bufferNode+regexp.MustCompile(`"http://[^"]*"`).ReplaceAllString(output, `"`+s.URL+`"`)+"  timeout = \"1m\"\n  metric_batch_size = 3\n")
	if got := m.says("reload"); !strings.Contains(got, "changed influxdb") {
		t.Errorf("reload: %s", got)
	}
	eventually(t, 2*time.Minute, func() string {
		if got := s.times(left); got != fmt.Sprintf("map[1:%d]", strings.Count(left, "\n")) {
			return "stored so often: " + got
		}
		return ""
	})
	agent.stop()
}

// Two outputs of a kind each have a buffer, and one that fails holds nothing
// back from the other.
func TestTwoOutputsOfAKind(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := newScripted(t)
	output := "[[outputs.influxdb]]\n  skip_database_creation = true\n  urls = [%q]\n"
	file := m.file("node.toml", bufferNode+fmt.Sprintf(output, s.URL)+fmt.Sprintf(output, fmt.Sprintf("http://127.0.0.1:%d", freePort(t))))
	agent := m.start("vitals-agent", "--config", file)
	m.until("one waits and one does not", []string{"status"}, `(?m)^influxdb +ok +[1-9](.|\n)*^influxdb-2 +failing +0 +[1-9]`)
	m.until("each has a buffer", []string{"buffer", "list"}, `(?m)^influxdb +influxdb .*\ninfluxdb-2 +influxdb-2 `)
	agent.stop()
}
