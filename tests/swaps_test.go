package tests

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// swapped is a plugin whose file becomes another, over and over, while the
// agent runs.
type swapped struct {
	*swaps
	name string
	runs string     // the version whose lines arrive
	away [][2]int64 // seconds between which it had no file
	pin  string     // of its file, in the lock file
	deck []int      // words that it has still to be told of, before all come again
}

// swaps are such plugins of one agent, which runs nothing that is not pinned.
type swaps struct {
	*site
	bench *bench
	all   []*swapped
}

// words are what may become of a file, and what the agent then says of it. The
// first takes over; the last leaves nothing to run; of all others the program
// before goes on.
var words = []struct{ word, why string }{
	{"good", ""},
	{"exit", "go-plugin handshake"},
	{"fail", "nothing to be read"},
	{"half", "half copied"},
	{"foreign", "is built for"},
	{"writable", "chmod go-w"},
	{"pin", "has changed since it was pinned"},
	{"link", "is a symbolic link"},
	{"gone", "its file is gone"},
}

func newSwaps(t *testing.T, plugins int) *swaps {
	s := &swaps{site: newSite(t, "plugin_policy = \"pinned\"\n  plugin_lock_file = \"$DIR/etc/plugins.lock\"")}
	s.bench = &bench{machine: s.machine, plugins: s.plugins, built: map[string][]byte{}}
	node, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	text := string(node)
	for n := range plugins {
		p := &swapped{swaps: s, name: fmt.Sprintf("p7_%d", n), runs: "1"}
		p.put(s.bench.program("1", ""), 0o755)
		s.all = append(s.all, p)
		text += fmt.Sprintf("[[inputs.%s]]\n  name_override = %q\n", p.name, p.name)
	}
	s.config = s.file("node.toml", text)
	s.lock()
	return s
}

// put makes the plugin's file another, which is to be pinned.
func (p *swapped) put(code []byte, mode os.FileMode) {
	p.t.Helper()
	p.bench.put(p.name, code, mode)
	sum := sha256.Sum256(code)
	p.pin = hex.EncodeToString(sum[:])
}

// lock pins what was put last, and the plugins that stay what they are.
func (s *swaps) lock() {
	s.t.Helper()
	var text strings.Builder
	for _, p := range s.all {
		fmt.Fprintf(&text, "%s  %s\n", p.pin, s.bench.path(p.name))
	}
	for _, name := range []string{"dice", "pydice"} {
		code, err := os.ReadFile(s.bench.path(name))
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(code), s.bench.path(name))
	}
	if err := os.Rename(s.file("etc/fresh", text.String()), s.path("etc/plugins.lock")); err != nil {
		s.t.Fatal(err)
	}
}

// other is the version that does not run.
func (p *swapped) other() string { return map[string]string{"1": "2", "2": "1"}[p.runs] }

// next draws a word from those that are left. What has no file gets one.
func (p *swapped) next(random *rand.Rand) int {
	if n := len(p.away); n > 0 && p.away[n-1][1] == 0 {
		return 0
	}
	if len(p.deck) == 0 {
		p.deck = random.Perm(len(words))
	}
	word := p.deck[0]
	p.deck = p.deck[1:]
	return word
}

// befall makes of the plugin's file what the word says.
func (p *swapped) befall(word string) {
	p.t.Helper()
	code := p.bench.program(p.other(), "")
	switch word {
	case "good":
		p.put(code, 0o755)
	case "exit", "fail":
		p.put(p.bench.program("3", word), 0o755)
	case "half":
		p.put(code[:len(code)/2], 0o755)
	case "foreign":
		p.put(foreign(code), 0o755)
	case "writable":
		p.put(code, 0o757)
	case "pin": // the pin stays that of the file before
		p.bench.put(p.name, p.bench.program("3", ""), 0o755)
	case "link":
		p.bench.put(p.name, code, 0o755)
		p.bench.moved(p.name)
	case "gone":
		p.away = append(p.away, [2]int64{time.Now().Unix(), 0})
		if err := os.Remove(p.bench.path(p.name)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// outcome is why it is not yet as it should be after a word, "" if it is.
func (p *swapped) outcome(word int) string {
	state := p.told()
	switch words[word].word {
	case "good":
		if now := p.sink.newest(p.name, time.Time{}); now != p.other() {
			return fmt.Sprintf("the newest line is of version %q: %+v", now, state)
		}
	case "gone":
		if state.PID != 0 || !strings.Contains(state.LastError, words[word].why) {
			return fmt.Sprintf("%+v", state)
		}
	default:
		if state.PID == 0 || !strings.Contains(state.Notice, "goes on") || !strings.Contains(state.Notice, words[word].why) {
			return fmt.Sprintf("%+v", state)
		}
	}
	return ""
}

// settle waits for the outcome of a word, and that the right version goes on.
func (p *swapped) settle(word int) {
	p.t.Helper()
	what := p.name + " " + words[word].word
	eventually(p.t, 3*time.Minute, func() string {
		if why := p.outcome(word); why != "" {
			return what + ": " + why
		}
		return ""
	})
	switch words[word].word {
	case "gone":
		return
	case "good":
		p.runs = p.other()
		if n := len(p.away); n > 0 && p.away[n-1][1] == 0 {
			p.away[n-1][1] = time.Now().Unix()
		}
	}
	since := time.Now()
	eventually(p.t, 2*time.Minute, func() string {
		if now := p.sink.newest(p.name, since); now != p.runs {
			return fmt.Sprintf("%s: the next line is of version %q, not %q", what, now, p.runs)
		}
		return ""
	})
}

// told is what the agent says of an input.
type told struct {
	Name, State, Notice string
	PID                 int
	LastError           string `json:"last_error"`
}

func (p *swapped) told() told {
	var status struct{ Inputs []told }
	resp, err := p.control.Get("http://agent/status")
	if err == nil {
		err = json.NewDecoder(resp.Body).Decode(&status)
		resp.Body.Close()
	}
	if err != nil {
		return told{LastError: fmt.Sprintf("status: %v", err)}
	}
	for _, in := range status.Inputs {
		if in.Name == p.name {
			return in
		}
	}
	return told{}
}

// requireSeconds fails if a second is missing of which the plugin had a file,
// or if a version was run that never may.
func (p *swapped) requireSeconds() {
	p.t.Helper()
	n, missing, twice := p.sink.ticks(p.name)
	var unexpected []int64
	for _, s := range missing {
		excused := false
		for _, a := range p.away { // with what the end and the next start take
			excused = excused || s >= a[0]-every && s <= a[1]+every
		}
		if !excused {
			unexpected = append(unexpected, s)
		}
	}
	if len(unexpected) > 0 || len(twice) > 0 || n == 0 {
		p.t.Errorf("%s: of %d ticks are missing %v, came twice %v; it was away %v", p.name, n, unexpected, twice, p.away)
	}
	if p.sink.hasSaid(p.name, "3") {
		p.t.Errorf("%s: a version was run that may not be", p.name)
	}
}

// faultsOfFilesCostOnlyThemselves has all kinds of things become of the
// files of plugins that run, at random moments and in every order.
func faultsOfFilesCostOnlyThemselves(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 7))
	s := newSwaps(t, 8)
	s.run()
	for _, p := range s.all {
		eventually(t, 2*time.Minute, func() string { return unless(p.sink.newest(p.name, time.Time{}) == "1", "no line of "+p.name) })
	}
	runs := map[string]int{}
	total := 0
	for end := time.Now().Add(faultTime(t, 60*time.Second)); (time.Now().Before(end) || total < fewest) && total < faultRuns(t); {
		drawn := make([]int, len(s.all))
		for i, p := range s.all {
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			drawn[i] = p.next(random)
			p.befall(words[drawn[i]].word)
		}
		s.lock()
		for i, p := range s.all {
			p.settle(drawn[i])
			runs[words[drawn[i]].word]++
			total++
		}
	}
	s.agent.stop()
	expected, gone := s.requireEveryTick(0, innocent...)
	for _, p := range s.all {
		p.requireSeconds()
	}
	t.Logf("P7 files replaced or removed: %d runs %v; the others: %d ticks expected, %d missing", total, runs, expected, gone)
	for _, wrong := range s.sink.wrong {
		t.Error(wrong)
	}
	s.requireNothingLeft(time.Minute)
	if left, _ := filepath.Glob(s.plugins + "/.*"); len(left) > 0 {
		t.Errorf("left in the plugin directory: %v", left)
	}
}

func unless(holds bool, why string) string {
	if holds {
		return ""
	}
	return why
}
