package tests

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// mood is something that a destination may do instead of its work.
type mood struct {
	row, name string
	does      func(s *sink, w http.ResponseWriter, r *http.Request, lines []byte)
}

func answers(status int, body string, headers ...string) func(*sink, http.ResponseWriter, *http.Request, []byte) {
	return func(_ *sink, w http.ResponseWriter, _ *http.Request, _ []byte) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hangUp ends the connection after a few bytes of an answer, with a reset or
// an orderly end.
func hangUp(reset bool, bytes string) func(*sink, http.ResponseWriter, *http.Request, []byte) {
	return func(s *sink, w http.ResponseWriter, _ *http.Request, _ []byte) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			s.book.complain("hijack: %v", err)
			return
		}
		_, _ = io.WriteString(conn, bytes)
		if reset {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		conn.Close()
	}
}

// hang answers nothing until the other side has enough of it.
func hang(_ *sink, _ http.ResponseWriter, r *http.Request, _ []byte) {
	select {
	case <-r.Context().Done():
	case <-time.After(10 * time.Second):
	}
}

// drip answers 204 at ten bytes a second.
func drip(s *sink, w http.ResponseWriter, _ *http.Request, _ []byte) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		s.book.complain("hijack: %v", err)
		return
	}
	defer conn.Close()
	for _, b := range []byte("HTTP/1.1 204 No Content\r\nServer: drip\r\nContent-Length: 0\r\n\r\n") {
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// commits stores first.
func commits(then func(*sink, http.ResponseWriter, *http.Request, []byte)) func(*sink, http.ResponseWriter, *http.Request, []byte) {
	return func(s *sink, w http.ResponseWriter, r *http.Request, lines []byte) {
		s.book.deliver(lines)
		then(s, w, r, lines)
	}
}

const aboveSeven = 7

// tooLarge takes a few lines at a time.
func tooLarge(s *sink, w http.ResponseWriter, r *http.Request, lines []byte) {
	if bytes.Count(lines, []byte("\n")) > aboveSeven {
		answers(413, `{"error":"Request Entity Too Large"}`)(s, w, r, lines)
		return
	}
	s.book.deliver(lines)
	w.WriteHeader(http.StatusNoContent)
}

// moods are those that pass.
var moods = []mood{
	{"D2", "500", answers(500, `{"error":"engine is not ready"}`)},
	{"D2", "502", answers(502, "<html><body>Bad Gateway</body></html>")},
	{"D2", "503", answers(503, `{"error":"not now"}`, "Retry-After", "1")},
	{"D2", "429", answers(429, `{"code":"too many requests"}`, "Retry-After", "1")},
	{"D2", "reset", hangUp(true, "")},
	{"D2", "end", hangUp(false, "")},
	{"D4", "commits, then resets", commits(hangUp(true, ""))},
	{"D4", "commits, then half an answer", commits(hangUp(false, "HTTP/1.1 204 No Con"))},
	{"D4", "commits, then times out", commits(hang)},
	{"D4", "commits, then 500", commits(answers(500, `{"error":"timeout"}`))},
	{"D5", "401", answers(401, `{"error":"authorization failed"}`)},
	{"D5", "403", answers(403, `{"error":"forbidden"}`)},
	{"D5", "404 database", answers(404, `{"error":"database not found: \"chk\""}`)},
	{"D5", "404 page", answers(404, "404 page not found\n")},
	{"D5", "413", tooLarge},
	{"D6", "drips", drip},
	{"D6", "hangs", hang},
}

// indulge has the sink be in a mood for so many writes and waits until they
// have come, which they do if anybody writes to the relay.
func (s *sink) indulge(m mood, writes int64) {
	s.t.Helper()
	var left atomic.Int64
	left.Store(writes)
	var earliest atomic.Int64
	s.does(func(w http.ResponseWriter, r *http.Request, lines []byte) {
		if now := time.Now().UnixNano(); now < earliest.Load() {
			s.book.complain("%s: written to again %v before the time it has asked for", m.name, time.Duration(earliest.Load()-now))
		}
		if left.Add(-1) < 0 {
			earliest.Store(0)
			s.book.deliver(lines)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		m.does(s, w, r, lines)
		if w.Header().Get("Retry-After") != "" {
			earliest.Store(time.Now().Add(900 * time.Millisecond).UnixNano()) // of 1 s, by when the answer was sent
		}
	})
	eventually(s.t, 2*time.Minute, func() string {
		if left.Load() >= 0 {
			return fmt.Sprintf("%s: %d of %d writes have not come", m.name, left.Load(), writes)
		}
		return ""
	})
	s.does(nil)
}

func TestRelayFaultDestinationDown(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 11))
	runs := faultCount(t, 4, 50)
	r := newRig(t, queueOfSmallSegments)
	r.run()
	crowd := r.load(1, 20, 50*time.Millisecond)
	var worst time.Duration
	for n := range runs {
		r.sink.down()
		time.Sleep(time.Duration(100+random.IntN(1500)) * time.Millisecond)
		r.sink.up()
		up := time.Now()
		r.requireDeliveredSince(up)
		worst = max(worst, time.Since(up))
		progress(t, n+1, runs, r.book)
	}
	crowd.end()
	requireKept(t, "D1", r.settle())
	t.Logf("D1 down for 0.1 to 1.6 s: %d times, at most %.1f s until the next delivery; %v", runs, worst.Seconds(), r.book)
}

// requireDeliveredSince waits until what was accepted by a moment is delivered.
func (r *rig) requireDeliveredSince(moment time.Time) {
	r.t.Helper()
	r.book.mu.Lock()
	accepted := slices.Collect(maps.Keys(r.book.accepted))
	r.book.mu.Unlock()
	eventually(r.t, 2*time.Minute, func() string {
		r.book.mu.Lock()
		defer r.book.mu.Unlock()
		for _, n := range accepted {
			if r.book.got[n] == 0 {
				return fmt.Sprintf("%d was accepted before %v and is not delivered", n, moment)
			}
		}
		return ""
	})
}

func TestRelayFaultDestinationMoods(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 12))
	runs := faultCount(t, len(moods), 1300)
	r := newRig(t, queueOfSmallSegments)
	r.book.unordered = true // what fails again and again steps aside
	r.run()
	crowd := r.load(1, 10, 50*time.Millisecond)
	times := map[string]int{}
	order := random.Perm(runs)
	for n := range runs {
		m := moods[order[n]%len(moods)]
		r.sink.indulge(m, 1+random.Int64N(3))
		times[m.row]++
		progress(t, n+1, runs, r.book)
	}
	crowd.end()
	requireKept(t, "D2, D4, D5, D6", r.settle())
	requireNothingRejected(t, r.machine)
	t.Logf("D2, D4, D5, D6 a destination in bad moods: %v; %v", times, r.book)
}

// What needs somebody to act is said, and held until he has.
func TestRelayFaultDestinationHolds(t *testing.T) {
	t.Parallel()
	faultSeed(t)
	r := newRig(t, queueOfSmallSegments)
	r.run()
	requireKept(t, "D5", r.refused())
	t.Logf("D5 401, 403, 404: held, with an alarm; %v", r.book)
	r.end(syscall.SIGTERM)
}

// refused has the destination refuse everything for some time, for each reason
// for which somebody must act.
func (r *rig) refused() error {
	client := newClient(r.t)
	next := int64(0)
	for _, m := range moods {
		if m.row != "D5" || m.name == "413" {
			continue
		}
		r.sink.does(func(w http.ResponseWriter, req *http.Request, lines []byte) { m.does(r.sink, w, req, lines) })
		before := r.sink.written()
		r.post(client, next, next+10)
		next += 10
		s, told := r.awaitHeld(before)
		r.sink.does(nil)
		if err := r.settle(); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if !told {
			return fmt.Errorf("%s: nobody is told: %+v", m.name, s)
		}
	}
	return nil
}

// awaitHeld reports whether the relay comes to say that the destination refuses
// what it is sent; false, too, if it thinks that it has delivered everything.
func (r *rig) awaitHeld(before int) (s relayStatus, told bool) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		s, _ = r.status()
		if len(s.Destinations) == 0 {
			continue
		}
		d := s.Destinations[0]
		if d.State == "held" && strings.Contains(strings.Join(s.Alarms, "\n"), "influxdb refuses writes until somebody acts") {
			return s, true
		}
		if r.sink.written() > before && d.Backlog.Lines == 0 {
			return s, false
		}
	}
	return s, false
}

func TestRelayFaultDestinationOneHangs(t *testing.T) {
	t.Parallel()
	runs := faultCount(t, 2, 50)
	r := newRig(t, "")
	other := newSink(t, newLedger(0))
	other.book.epoch = r.book.epoch
	r.configure(r.path("relay"), fmt.Sprintf("[[relay.destinations]]\n  name = \"other\"\n  url = %q\n", other.url()))
	r.run()
	for n := range runs {
		bad := []func(*sink, http.ResponseWriter, *http.Request, []byte){drip, hang}[n%2]
		r.sink.does(func(w http.ResponseWriter, req *http.Request, lines []byte) { bad(r.sink, w, req, lines) })
		crowd := r.load(1+10*n, 10, 20*time.Millisecond)
		time.Sleep(time.Second)
		crowd.end()
		other.book.mu.Lock()
		other.book.accepted = maps.Clone(r.book.accepted)
		other.book.mu.Unlock()
		eventually(t, time.Minute, func() string { // while the first one hangs
			if lost := other.book.lost(); len(lost) > 0 {
				return fmt.Sprintf("%d lines have not reached the destination that is well", len(lost))
			}
			return ""
		})
		if len(r.book.lost()) == 0 {
			t.Fatal("the destination that hangs has everything")
		}
		r.sink.does(nil)
		requireKept(t, "D6", r.settle())
		progress(t, n+1, runs, r.book)
	}
	requireKept(t, "D6, the other", other.book.verdict())
	t.Logf("D6 a destination drips or hangs: %d runs; %v; the other: %v", runs, r.book, other.book)
}

// poison is a line that a destination never takes.
func poison(n int) string { return fmt.Sprintf("chk,writer=0 seq=\"poison %d\" %d\n", n, n+1) }

// refusals are the ways in which a destination says so.
var refusals = []struct {
	name string
	does func(s *sink, w http.ResponseWriter, r *http.Request, good, bad []byte)
}{
	{"partial", func(s *sink, w http.ResponseWriter, r *http.Request, good, bad []byte) {
		s.book.deliver(good)
		answers(400, fmt.Sprintf(`{"error":"partial write: field type conflict: input field \"seq\" on measurement \"chk\" is type string, already exists as type integer dropped=%d"}`, bytes.Count(bad, []byte("\n"))))(s, w, r, nil)
	}},
	{"none stored", func(s *sink, w http.ResponseWriter, r *http.Request, good, bad []byte) {
		answers(400, `{"code":"invalid","message":"unable to parse 'chk': no good"}`)(s, w, r, nil)
	}},
	{"422", func(s *sink, w http.ResponseWriter, r *http.Request, good, bad []byte) {
		answers(422, `{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict dropped=1"}`)(s, w, r, nil)
	}},
	{"500 for ever", func(s *sink, w http.ResponseWriter, r *http.Request, good, bad []byte) {
		answers(500, `{"error":"index out of range"}`)(s, w, r, nil)
	}},
	{"dies of it", func(s *sink, w http.ResponseWriter, r *http.Request, good, bad []byte) {
		hangUp(true, "")(s, w, r, nil)
	}},
}

// part parts lines that a destination takes from those that it does not.
func part(lines []byte) (good, bad []byte) {
	for text := range bytes.Lines(lines) {
		if bytes.Contains(text, []byte("poison")) {
			bad = append(bad, text...)
		} else {
			good = append(good, text...)
		}
	}
	return good, bad
}

// postPoisoned writes good lines with bad ones among them.
func (r *rig) postPoisoned(client *http.Client, from, to int64, poisons []int, random *rand.Rand) {
	lines := bytes.SplitAfter(r.book.body(from, to), []byte("\n"))
	lines = lines[:len(lines)-1]
	for _, n := range poisons {
		lines = slices.Insert(lines, random.IntN(len(lines)+1), []byte(poison(n)))
	}
	resp, err := client.Post(r.url()+"/write?db=chk", "text/plain", bytes.NewReader(bytes.Join(lines, nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		r.t.Fatalf("the relay answers %s", resp.Status)
	}
	r.book.accept(from, to)
}

// setAside returns the lines in rejected/, and how often each is there.
func (m *machine) setAside() map[string]int {
	m.t.Helper()
	set := map[string]int{}
	files, err := filepath.Glob(m.path("relay/rejected/*/*"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			m.t.Fatal(err)
		}
		for l := range strings.Lines(string(text)) {
			if !strings.HasPrefix(l, "#") {
				set[l]++
			}
		}
	}
	return set
}

// requireSetAside fails unless exactly the poisons to before n were set aside.
func (m *machine) requireSetAside(n int) {
	m.t.Helper()
	set := m.setAside()
	for i := range n {
		if set[poison(i)] == 0 {
			m.t.Errorf("%s was neither stored nor set aside", strings.TrimSpace(poison(i)))
		}
		delete(set, poison(i))
	}
	if len(set) > 0 {
		m.t.Errorf("set aside for nothing: %v", set)
	}
}

func TestRelayFaultDestinationPoison(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 13))
	runs := faultCount(t, 10, 500)
	r := newRig(t, queueOfSmallSegments)
	r.book.unordered = true // what is taken apart loses its order
	r.run()
	client := newClient(t)
	client.Timeout = patience
	poisons := 0
	for n := range runs {
		refusal := refusals[n%len(refusals)]
		r.sink.does(func(w http.ResponseWriter, req *http.Request, lines []byte) {
			good, bad := part(lines)
			if len(bad) > 0 {
				refusal.does(r.sink, w, req, good, bad)
				return
			}
			r.sink.book.deliver(good)
			w.WriteHeader(http.StatusNoContent)
		})
		for b := range int64(5) {
			var some []int
			for range random.IntN(4) {
				some = append(some, poisons)
				poisons++
			}
			from := int64(n)*500 + 100*b
			r.postPoisoned(client, from, from+1+random.Int64N(99), some, random)
		}
		requireKept(t, "D3 "+refusal.name, r.settle())
		progress(t, n+1, runs, r.book)
	}
	r.requireSetAside(poisons)
	t.Logf("D3 poison for a scripted destination: %d runs, %d bad lines, all of them set aside, and no other; %v", runs, poisons, r.book)
}

func TestRelayFaultDestinationPoisonOfInfluxDB(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 14))
	runs := faultCount(t, 30, 500)
	c := newCluster(t, "", "")
	c.db.start()
	c.db.query("", "CREATE DATABASE chk WITH DURATION 2h")
	c.startRelay()
	book := newLedger(0)
	r := &rig{machine: c.machine, book: book}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(c.relayURL, "http://"))
	fmt.Sscan(port, &r.port)
	client := newClient(t)
	r.post(client, 0, 1) // from now on seq is an integer
	c.delivered()
	poisons := 0
	for n := range runs {
		var body bytes.Buffer
		from := 1 + int64(n)*100
		for i := from; i < from+100; i++ {
			body.Write(book.appendLine(nil, i))
			if random.IntN(40) == 0 {
				if poisons++; poisons%2 == 0 { // a type conflict, in the shard of all others
					fmt.Fprintf(&body, "chk,writer=0 seq=\"poison %d\" %d\n", poisons, book.epoch)
				} else { // beyond the retention policy
					fmt.Fprintf(&body, "chk,writer=0 seq=1i,poison=1i %d\n", poisons)
				}
			}
		}
		resp, err := client.Post(c.relayURL+"/write?db=chk", "text/plain", &body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Fatalf("the relay answers %s", resp.Status)
		}
		book.accept(from, from+100)
	}
	c.delivered()
	for n := range c.db.numbers("chk") {
		book.deliver(book.appendLine(nil, n))
	}
	book.late = 0 // they come from a map
	requireKept(t, "D3", book.verdict())
	set := 0
	for l := range c.setAside() {
		if !strings.Contains(l, "poison") {
			t.Errorf("set aside for nothing: %s", l)
		}
		set++
	}
	if set != poisons {
		t.Errorf("%d of %d bad lines are set aside", set, poisons)
	}
	t.Logf("D3 poison for a real InfluxDB: %d runs, %d bad lines, all of them set aside, and no other; %v", runs, poisons, book)
}

// Everything at once: a destination in bad moods or away, a relay that is
// killed or frozen.
func TestRelayFaultDestinationStorm(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 15))
	runs := faultCount(t, 8, 500)
	r := newRig(t, queueOfSmallSegments)
	r.book.unordered = true // what fails again and again steps aside
	r.run()
	crowd := r.load(1, 20, 50*time.Millisecond)
	for n := range runs {
		m := moods[random.IntN(len(moods))]
		r.sink.does(func(w http.ResponseWriter, req *http.Request, lines []byte) { m.does(r.sink, w, req, lines) })
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		switch random.IntN(4) {
		case 0:
			r.end(syscall.SIGKILL)
			r.run()
		case 1:
			_ = syscall.Kill(r.pid(), syscall.SIGSTOP)
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
			_ = syscall.Kill(r.pid(), syscall.SIGCONT)
		case 2:
			r.sink.down()
			time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
			r.sink.up()
		}
		r.sink.does(nil)
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		progress(t, n+1, runs, r.book)
	}
	crowd.end()
	requireKept(t, "storm", r.settle())
	requireNothingRejected(t, r.machine)
	t.Logf("W1 bad moods, outages, kills and freezes at once: %d runs; %v", runs, r.book)
}
