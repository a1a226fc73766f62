package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hook is a server that is told of alerts.
type hook struct {
	*httptest.Server
	mu       sync.Mutex
	messages []hookMessage
	status   int           // what it answers
	heard    chan struct{} // gets something with each message
}

type hookMessage struct {
	ID, Status, Alert, Node, Text string
	key                           string
}

func newHook(t *testing.T) *hook {
	h := &hook{status: 200, heard: make(chan struct{}, 1)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		m := hookMessage{key: r.Header.Get("Idempotency-Key")}
		if err != nil || json.Unmarshal(body, &m) != nil {
			w.WriteHeader(400)
			return
		}
		h.mu.Lock()
		status := h.status
		if status == 200 {
			h.messages = append(h.messages, m)
		}
		h.mu.Unlock()
		w.WriteHeader(status)
		select {
		case h.heard <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) got() []hookMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

func (h *hook) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

// distinct counts the messages of a state, each ID once.
func (h *hook) distinct(status string) int {
	ids := map[string]bool{}
	for _, m := range h.got() {
		if m.Status == status {
			ids[m.ID] = true
		}
	}
	return len(ids)
}

// alerting is a relay that tells a hook, in front of an InfluxDB.
type alerting struct {
	*machine
	hook  *hook
	relay *process
	port  int
	nodes []string
}

func newAlerting(t *testing.T, db *influxd, tables string) *alerting {
	t.Helper()
	a := &alerting{machine: newMachine(t), hook: newHook(t), port: freePort(t)}
	a.file("hook.token", "very-secret\n")
	a.file("node.toml", fmt.Sprintf(`
[relay]
  listen = "127.0.0.1:%d"
  data_directory = "$DIR/relay"
[relay.fleet]
  late_after = "8s"
  down_after = "20s"
[[relay.destinations]]
  name = "influxdb"
  url = %q
[[relay.alerts]]
  kind = "down"
  for = "0s"
[[relay.alert_targets]]
  kind = "webhook"
  name = "hook"
  url = %q
  token_file = "$DIR/hook.token"
%s`, a.port, db.url(), a.hook.URL, tables))
	return a
}

func (a *alerting) url() string { return fmt.Sprintf("http://127.0.0.1:%d", a.port) }

func (a *alerting) run() {
	a.t.Helper()
	a.relay = a.start("vitals-relay", "--log-level", "debug", "--config", a.path("node.toml"))
	eventually(a.t, 60*time.Second, func() string {
		if status, body := get(a.t, a.url()+"/health"); status != 200 {
			return body
		}
		return ""
	})
}

// write writes a line of each node.
func (a *alerting) write() {
	var lines strings.Builder
	for _, n := range a.nodes {
		fmt.Fprintf(&lines, "mem,host=%s used_percent=20 %d\n", n, time.Now().UnixNano())
	}
	resp, err := http.Post(a.url()+"/write?db=node_vitals", "", strings.NewReader(lines.String()))
	if err == nil {
		resp.Body.Close()
	}
}

// keepWriting writes until the function that it returns is called.
func (a *alerting) keepWriting() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			a.write()
			select {
			case <-done:
				return
			case <-time.After(300 * time.Millisecond):
			}
		}
	}()
	return func() { close(done); <-ended }
}

// doubtful are the IDs of messages that the hook has got and the relay, which
// has ended, could not note any more: those may come a second time.
func (a *alerting) doubtful() []string {
	var state struct {
		Alerts []struct {
			ID   string
			Told []string
		}
	}
	text, err := os.ReadFile(a.path("relay/alerts.json"))
	if err != nil {
		return nil
	}
	if err := json.Unmarshal(text, &state); err != nil {
		a.t.Fatalf("alerts.json after a crash: %v\n%s", err, text)
	}
	var ids []string
	for _, m := range a.hook.got() {
		for _, s := range state.Alerts {
			if told := slices.Contains(s.Told, "hook"); m.ID == s.ID+"-firing" && !told || m.ID == s.ID+"-clear" && told {
				ids = append(ids, m.ID)
			}
		}
	}
	return ids
}

// Every node that goes down is told once, and once that it is up, although the
// relay is killed at any moment, most of all while it tells.
func TestAlertsAreToldOnceAcrossKills(t *testing.T) {
	t.Parallel()
	seed := setting(t, "VITALS_SEED", uint64(time.Now().UnixNano()))
	t.Logf("VITALS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	db := startInfluxd(t)
	a := newAlerting(t, db, "")
	a.nodes = []string{"pi-1", "pi-2", "pi-3"}
	a.run()
	mayRepeat := map[string]int{}
	kill := func() {
		select { // while it tells, or at some other time
		case <-a.hook.heard:
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		case <-time.After(time.Duration(random.IntN(15_000)) * time.Millisecond):
		}
		a.relay.kill()
		for _, id := range a.doubtful() {
			mayRepeat[id]++
		}
		a.run()
	}
	rounds := faultCount(t, 2, 50)
	for round := 1; round <= rounds; round++ {
		stop := a.keepWriting()
		kill()
		eventually(t, 2*time.Minute, func() string {
			if n := a.hook.distinct("clear"); n < len(a.nodes)*(round-1) {
				return fmt.Sprintf("%d nodes are told to be up again", n)
			}
			return ""
		})
		stop()
		kill()
		eventually(t, 2*time.Minute, func() string {
			if n := a.hook.distinct("firing"); n < len(a.nodes)*round {
				return fmt.Sprintf("%d nodes are told to be down", n)
			}
			return ""
		})
	}
	defer a.keepWriting()()
	eventually(t, 2*time.Minute, func() string {
		rows, err := db.tryQuery("node_vitals", `SELECT count(firing) FROM vitals_alert`)
		if n := a.hook.distinct("clear"); n < len(a.nodes)*rounds || err != nil || len(rows) == 0 {
			return fmt.Sprintf("%d nodes are told to be up again; %v %v", n, rows, err)
		}
		if n, want := fmt.Sprint(rows[0][1]), fmt.Sprint(2*len(a.nodes)*rounds); n != want {
			return n + " lines of alerts are in InfluxDB, not " + want
		}
		return ""
	})
	a.requireOnce(rounds, mayRepeat)
	if text := a.read("vitals-relay.log"); strings.Contains(text, "very-secret") {
		t.Error("the log tells the token")
	}
}

// requireOnce requires that each node was told as often as it went down, in
// turns, and no message twice but those that were in doubt.
func (a *alerting) requireOnce(rounds int, mayRepeat map[string]int) {
	a.t.Helper()
	for _, node := range a.nodes {
		var turns []string
		times := map[string]int{}
		for _, m := range a.hook.got() {
			if m.Node != node {
				continue
			}
			if m.key != m.ID || m.Alert != "down" {
				a.t.Errorf("%+v", m)
			}
			if times[m.ID]++; times[m.ID] == 1 {
				turns = append(turns, m.ID)
			} else if times[m.ID] > 1+mayRepeat[m.ID] {
				a.t.Errorf("%s was told %d times, and %d times in doubt", m.ID, times[m.ID], mayRepeat[m.ID])
			}
		}
		if len(turns) != 2*rounds {
			a.t.Errorf("%s: %d messages, not %d: %q", node, len(turns), 2*rounds, turns)
			continue
		}
		for i := 0; i < len(turns); i += 2 {
			if down, up := strings.TrimSuffix(turns[i], "-firing"), strings.TrimSuffix(turns[i+1], "-clear"); down != up || down == turns[i] {
				a.t.Errorf("%s: %q then %q", node, turns[i], turns[i+1])
			}
		}
	}
}

// The commands, and a hook that is down for a while, as a person meets them.
func TestAlertsFromTheTerminal(t *testing.T) {
	t.Parallel()
	db := startInfluxd(t)
	a := newAlerting(t, db, "")
	a.nodes = []string{"pi-1", "pi-2"}
	a.hook.answer(503)
	a.run()
	stop := a.keepWriting()
	f := func(code int, want string, args ...string) {
		t.Helper()
		stdout, stderr, got := run(t, a.command("vitals-relay", args...))
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%v: exit code %d\n%s%s", args, got, stdout, stderr)
		}
	}
	eventually(t, 30*time.Second, func() string {
		_, body := get(t, a.url()+"/api/nodes")
		if strings.Count(body, `"name"`) != 2 {
			return body
		}
		return ""
	})
	f(0, "nothing fires", "alerts", "list")
	f(1, "hook: the test message could not be delivered: it answers 503\n", "alerts", "test")
	f(1, `"error": "it answers 503"`, "alerts", "test", "--json", "--target", "hook")
	f(1, `there is no target "horn"`, "alerts", "test", "--target", "horn")
	f(0, "nobody is told of pi-2 until", "alerts", "silence", "pi-2", "2h")
	f(1, `there is no node and no destination "pi-9"`, "alerts", "silence", "pi-9", "2h")
	f(2, `"soon" is not a time`, "alerts", "silence", "pi-1", "soon")
	f(2, "write: vitals-relay alerts list", "alerts", "silence", "pi-1")
	stop()
	eventually(t, time.Minute, func() string {
		_, body := get(t, a.url()+"/api/alerts")
		if strings.Count(body, `"kind":"down","node"`) != 2 {
			return body
		}
		return ""
	})
	f(1, "(silenced)", "alerts", "list")
	a.hook.answer(200)
	eventually(t, time.Minute, func() string {
		if a.hook.distinct("firing") == 0 {
			return "nobody is told"
		}
		return ""
	})
	f(0, "hook: the test message is delivered", "alerts", "test")
	f(0, "alerts of pi-2 are told again", "alerts", "unsilence", "pi-2")
	f(1, `"pi-2" is not silenced`, "alerts", "unsilence", "pi-2")
	eventually(t, time.Minute, func() string {
		if n := a.hook.distinct("firing"); n != 2 {
			return fmt.Sprintf("%d are told", n)
		}
		return ""
	})
	_, page := get(t, a.url()+"/")
	if !strings.Contains(page, `<b>down</b> <a href="/nodes/pi-1">pi-1</a>: it is down, last seen at`) {
		t.Error("the page does not show it")
	}
	a.relay.stop()
}

// The rules and the target of the guide are sound.
func TestAlertsOfTheOperatingGuide(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	file := m.file("node.toml", sampleWith(t, "docs/operating.md", "toml", "[[relay.alerts]]"))
	if _, stderr, code := run(t, m.command("vitals-relay", "config", "check", "--config", file)); code != 0 {
		t.Error(stderr)
	}
}
