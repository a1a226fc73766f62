package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// How often a fault is made: the number that a usual run has time for, or, with
// VITALS_FAULTS=full, the number of the fault matrix; VITALS_FAULT_RUNS sets
// another.
func faultCount(t *testing.T, usual, full int) int {
	t.Helper()
	if os.Getenv("VITALS_FAULTS") == "full" {
		usual = full
	}
	return int(setting(t, "VITALS_FAULT_RUNS", uint64(usual)))
}

// progress logs every so many runs, for who waits for a long one.
func progress(t *testing.T, done, all int, book fmt.Stringer) {
	if every := max(10, all/20); done%every == 0 && done < all {
		t.Logf("%d of %d runs: %v", done, all, book)
	}
}

// rig is a relay that something happens to, with its destination and the books.
type rig struct {
	*machine
	book    *ledger
	sink    *sink
	relay   *process
	program string   // path of vitals-relay
	under   []string // what it is run by, if anything
	inPlace bool     // … and which it takes the place of
	port    int
	config  string
	timeout string // of a write to the destination
}

// queueOfSmallSegments is the part of a node file that makes a relay begin,
// deliver and remove a segment every few writes.
const queueOfSmallSegments = `
[relay.queue]
  kept_bytes = "16KiB"
  min_free_bytes = "0"
`

// newRig makes a relay with one destination. Tables are added to its node file.
func newRig(t *testing.T, tables string) *rig {
	t.Helper()
	r := &rig{machine: newMachine(t), book: newLedger(0), program: "vitals-relay", port: freePort(t), timeout: "2s"}
	r.sink = newSink(t, r.book)
	r.configure(r.path("relay"), tables)
	return r
}

// configure writes the node file.
func (r *rig) configure(directory, tables string) {
	r.config = r.file("node.toml", fmt.Sprintf(`
[relay]
  listen = "127.0.0.1:%d"
  data_directory = %q
[relay.provision]
  enabled = false
[[relay.destinations]]
  name = "influxdb"
  url = %q
  timeout = %q
%s`, r.port, directory, r.sink.url(), r.timeout, tables))
}

func (r *rig) url() string { return fmt.Sprintf("http://127.0.0.1:%d", r.port) }

// tryRun starts the relay and reports whether it came to serve.
func (r *rig) tryRun() bool {
	r.t.Helper()
	args := append(append([]string{}, r.under...), r.program, "--config", r.config)
	if !filepath.IsAbs(r.program) && len(r.under) > 0 {
		args[len(r.under)] = filepath.Join(root, "bin", r.program)
	}
	r.relay = r.start(args[0], args[1:]...)
	for deadline := time.Now().Add(patience); r.relay.running(); time.Sleep(5 * time.Millisecond) {
		if status, _ := get(r.t, r.url()+"/health"); status == 200 {
			return true
		}
		if time.Now().After(deadline) {
			r.t.Fatal("the relay does not come to serve")
		}
	}
	return false
}

func (r *rig) run() {
	r.t.Helper()
	if !r.tryRun() {
		r.t.Fatal("the relay has ended instead of serving")
	}
}

// pid is the relay's, also where something else runs it; 0 if it has ended.
func (r *rig) pid() int {
	pid := r.relay.cmd.Process.Pid
	if len(r.under) == 0 || r.inPlace {
		return pid
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	child, _, _ := strings.Cut(string(children), " ")
	pid, _ = strconv.Atoi(child)
	return pid
}

// end sends the relay a signal that ends it and waits until it has.
func (r *rig) end(sig syscall.Signal) {
	r.t.Helper()
	for r.relay.running() {
		if pid := r.pid(); pid > 0 {
			_ = syscall.Kill(pid, sig)
		}
		select {
		case <-r.relay.done:
		case <-time.After(patience):
			r.t.Fatalf("the relay does not end on %v", sig)
		}
	}
}

// outcome is what became of a write.
type outcome struct {
	status int // 0: no answer
	body   string
}

// post writes the lines from one number to before another, and keeps the books.
// Writers use two databases, so that some is delivered ahead of the rest.
// The relay may say that it has no time or no room, never that the lines are to
// blame: Telegraf would throw them away.
func (r *rig) post(client *http.Client, from, to int64) outcome {
	body := r.book.body(from, to)
	req, err := http.NewRequest(http.MethodPost, r.url()+"/write?db="+[]string{"chk", "chk2"}[from>>perWriter%2], nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if from%3 == 0 && r.book.bulk == 0 {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		w.Write(body)
		w.Close()
		body = packed.Bytes()
		req.Header.Set("Content-Encoding", "gzip")
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := client.Do(req)
	if err != nil {
		return outcome{body: err.Error()}
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	switch resp.StatusCode {
	case http.StatusNoContent:
		r.book.accept(from, to)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
	default:
		r.book.complain("a sound write was answered %s: %s", resp.Status, text)
	}
	return outcome{resp.StatusCode, string(text)}
}

// newClient is a client with connections of its own.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: time.Minute, Transport: transport}
}

// crowd is clients that write until they are told to stop.
type crowd struct {
	stop chan struct{}
	wg   sync.WaitGroup
}

// load has clients write, each a few lines at a time and not more often than
// every pause on average. first is the number of the first of them; no two
// crowds of one run share any.
func (r *rig) load(first, clients int, pause time.Duration) *crowd {
	c := &crowd{stop: make(chan struct{})}
	for w := range clients {
		c.wg.Go(func() {
			client := newClient(r.t)
			next := int64(first+w) << perWriter
			for {
				select {
				case <-c.stop:
					return
				case <-time.After(rand.N(2 * pause)):
				}
				to := next + 1 + rand.Int64N(20)
				r.post(client, next, to)
				next = to
			}
		})
	}
	return c
}

func (c *crowd) end() {
	close(c.stop)
	c.wg.Wait()
}

// relayStatus is what these tests read of /api/status.
type relayStatus struct {
	Alarms       []string
	Destinations []struct {
		Name          string
		State         string
		Error         string
		RejectedLines int64 `json:"rejected_lines"`
		Backlog       struct{ Lines int64 }
	}
	Queue struct {
		Bytes         int64 `json:"bytes"`
		DamagedFrames int64 `json:"damaged_frames"`
	}
}

func (r *rig) status() (s relayStatus, err error) {
	status, body := get(r.t, r.url()+"/api/status")
	if status != 200 {
		return s, fmt.Errorf("%d: %s", status, body)
	}
	return s, json.Unmarshal([]byte(body), &s)
}

// settle waits until the running relay has nothing left to deliver and returns
// what the books say then.
func (r *rig) settle() error { return r.settleWithin(3 * time.Minute) }

func (r *rig) settleWithin(limit time.Duration) error {
	r.t.Helper()
	if err := r.idle(limit); err != nil {
		return err
	}
	return r.verdict()
}

// idle waits until the running relay has nothing left to deliver.
func (r *rig) idle(limit time.Duration) error {
	r.t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		s, err := r.status()
		left := int64(0)
		for _, d := range s.Destinations {
			left += d.Backlog.Lines
		}
		if err == nil && left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v the relay has not delivered what it holds: %+v, %v", limit, s, err)
		}
	}
}

// verdict is the books'. What a destination has just been sent may come into
// them a moment later.
func (r *rig) verdict() error {
	for deadline := time.Now().Add(10 * time.Second); len(r.book.lost()) > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	return r.book.verdict()
}

// copyTree copies a directory with its hard links.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}

// buildProgram builds a program of ours with more build tags, and returns its
// path.
func (m *machine) buildProgram(source, tags string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, "bin-"+filepath.Base(source)+tags)
	build := exec.Command("go", "build", "-tags", "grpcnotrace,nethttpomithttp2,"+tags, "-o", path, source)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		m.t.Fatalf("build %s: %v\n%s", source, err, out)
	}
	return path
}
