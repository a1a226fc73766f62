package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// more adds to a node file.
func more(t *testing.T, config, text string) string {
	t.Helper()
	if err := os.WriteFile(config, append(must(os.ReadFile(config)), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// patient has a node file say that no node is ever late.
func patient(t *testing.T, config string) string {
	t.Helper()
	return more(t, config, "[relay.fleet]\nlate_after = \"1h\"\ndown_after = \"2h\"\n")
}

// readiness is what /ready answers.
type readiness struct {
	Status, Started, Up string
	Reasons, Notes      []string
}

func (p *program) ready() (int, readiness) {
	p.t.Helper()
	status, body := p.ask("/ready")
	var r readiness
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		p.t.Fatalf("%v: %s", err, body)
	}
	return status, r
}

// tries writes a line and returns the status of the answer.
func (p *program) tries(n int) int {
	p.t.Helper()
	resp, err := http.Post(p.url+"/write?db=node_vitals", "", strings.NewReader(fmt.Sprintf("m,host=a s=\"%0500d\" %d\n", n*n, n)))
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestReadyWhileWritesAreTaken(t *testing.T) {
	db := newInflux(t)
	db.set(true)
	p := start(t, more(t, nodeFile(t, t.TempDir(), map[string]string{"influxdb": db.URL}), "[relay.queue]\nmax_bytes = 20000\n"))
	status, r := p.ready()
	if status != 200 || r.Status != "ready" || len(r.Reasons) != 0 || r.Started == "" || r.Up == "" {
		t.Errorf("%d %+v", status, r)
	}
	n := 1
	p.eventually("full", func() bool { n++; return p.tries(n) == 503 })
	status, r = p.ready()
	if status != 503 || r.Status != "not ready" || len(r.Reasons) != 1 || !strings.HasPrefix(r.Reasons[0], "the queue ") {
		t.Errorf("when it is full: %d %+v", status, r)
	}
	if _, text := p.ask("/metrics"); !strings.Contains(text, "\nvitals_relay_ready 0\n") || !regexp.MustCompile(`\nvitals_relay_writes_total\{result="refused"\} [1-9]`).MatchString(text) {
		t.Errorf("when it is full:\n%s", text)
	}
	db.set(false)
	p.eventually("there is room again", func() bool { n++; return p.tries(n) == 204 })
	if status, r = p.ready(); status != 200 {
		t.Errorf("when there is room again: %d %+v", status, r)
	}
	p.eventually("said", func() bool { return strings.Contains(p.stderr.String(), "writes are accepted again") })
}

func TestNotReadyOnADiskThatIsAlmostFull(t *testing.T) {
	p := start(t, more(t, nodeFile(t, t.TempDir(), nil), "[relay.queue]\nmin_free_bytes = 1000000000000000\n"))
	if status, r := p.ready(); status != 503 || len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0], "less than min_free_bytes") {
		t.Errorf("%d %+v", status, r)
	}
}

func TestReadyNamesWhatIsHeld(t *testing.T) {
	db := newInflux(t) // it has no database, and the relay may create none
	p := start(t, more(t, nodeFile(t, t.TempDir(), map[string]string{"influxdb": db.URL}), "[relay.provision]\nenabled = false\n"))
	p.write("m,host=a v=1 1\n")
	p.eventually("held", func() bool { return p.status().Destinations[0].State == "held" })
	if status, r := p.ready(); status != 200 || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, `the destination "influxdb" takes nothing`) }) {
		t.Errorf("%d %+v", status, r)
	}
}

func TestReadyTellsOfADirectoryInMemory(t *testing.T) {
	p := start(t, nodeFile(t, shm(t), nil))
	if status, r := p.ready(); status != 200 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "tmpfs") {
		t.Errorf("%d %+v", status, r)
	}
}

func TestMetricsOfARelayAtWork(t *testing.T) {
	db := newInflux(t)
	p := start(t, patient(t, nodeFile(t, t.TempDir(), map[string]string{"influxdb": db.URL})))
	for i := range 5 {
		p.write(fmt.Sprintf("m,host=a v=1 %d\nm,host=b v=1 %d\n", i, i))
	}
	p.eventually("delivered and seen", func() bool {
		s := p.status()
		return s.Destinations[0].Lines == 10 && s.Destinations[0].Backlog.Bytes == 0 && s.Nodes.Up == 2
	})
	_, text := p.ask("/metrics")
	figure := func(name string) float64 {
		m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in\n%s", name, text)
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for name, want := range map[string]float64{
		"vitals_relay_accepted_lines_total": 10, `vitals_relay_writes_total{result="accepted"}`: 5, "vitals_relay_ack_seconds_count": 5,
		`vitals_relay_destination_delivered_lines_total{destination="influxdb"}`: 10, `vitals_relay_destination_up{destination="influxdb"}`: 1,
		`vitals_relay_destination_backlog_bytes{destination="influxdb"}`: 0, `vitals_relay_nodes{state="up"}`: 2, "vitals_relay_ready": 1,
		"vitals_relay_commit_seconds_count": figure("vitals_relay_queue_commits_total"),
	} {
		if got := figure(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if figure("vitals_relay_connections") < 1 || figure("vitals_relay_commit_seconds_sum") <= 0 || figure("vitals_relay_ack_seconds_sum") < figure("vitals_relay_commit_seconds_sum")/2 {
		t.Errorf("figures that cannot be:\n%s", text)
	}
}

func TestARelayWritesItsOwnFigures(t *testing.T) {
	db := newInflux(t)
	p := start(t, more(t, nodeFile(t, t.TempDir(), map[string]string{"influxdb": db.URL}), "[relay.self]\ninterval = \"1s\"\n"))
	p.write("m,host=a v=1 1\n")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`(?m)^vitals_relay,host=` + regexp.QuoteMeta(host) + ` .*\baccepted_lines=1i,.* \d+000000000$`)
	each := regexp.MustCompile(`(?m)^vitals_relay_destination,destination=influxdb,host=` + regexp.QuoteMeta(host) + ` .*\bstate="ok",.* \d+000000000$`)
	p.eventually("stored", func() bool {
		db.mu.Lock()
		defer db.mu.Unlock()
		text := strings.Join(db.lines, "\n")
		return own.MatchString(text) && each.MatchString(text)
	})
	if n := p.status().Ingest.Lines; n != 1 {
		t.Errorf("%d lines are counted as accepted at the door", n)
	}
}

func TestReadyIsEverybodysAndTheFiguresAreNot(t *testing.T) {
	p := start(t, more(t, nodeFile(t, shm(t), nil), "[relay.auth]\nmode = \"required\"\n"))
	status, r := p.ready()
	if status != 200 || r.Status != "ready" || strings.Contains(strings.Join(r.Notes, ""), "/") {
		t.Errorf("%d %+v", status, r)
	}
	if status, _ := p.ask("/metrics"); status != 401 {
		t.Errorf("/metrics is shown to everybody: %d", status)
	}
	out, err := command(t, "token", "create", "--role", "read", "--node", "prometheus")
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("GET", p.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(out)
	req.Header.Set("Authorization", "Bearer "+fields[0])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text := string(must(io.ReadAll(resp.Body))); resp.StatusCode != 200 || !strings.Contains(text, "\nvitals_relay_ready 1\n") {
		t.Errorf("with a token to read: %d %s\n%q", resp.StatusCode, text, out)
	}
}
