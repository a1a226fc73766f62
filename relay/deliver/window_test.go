package deliver

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rpicluster/vitals/internal/influx"
)

func TestOtherDatabasesArePassedBy(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, all)
	wants := func(database string) bool { return database == "d" }
	f.append(influx.Target{Database: "other", Precision: "ns"}, "m v=0 1")
	f.append(ns, "m v=1 1")
	f.append(influx.Target{Database: "other", Precision: "ns"}, "m v=2 1")
	f.append(ns, "m v=3 1")
	d := f.startAs(Config{Wants: wants}, "near", s, nil)
	stored(t, s, "d//: m v=1 1", "d//: m v=3 1")
	empty(t, d)
	f.append(influx.Target{Database: "other", Precision: "ns"}, "m v=4 1")
	empty(t, d) // without a write
	if got := d.Status(); got.Lines != 2 || s.writes != 1 {
		t.Errorf("%d writes, %+v", s.writes, got)
	}
}

// What is passed by does not pass what waits before it.
func TestPassingByKeepsWhatWaits(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(int, string, []string) (int, string, func(string) bool) { return 503, "not now", nil })
	wants := func(database string) bool { return database == "d" }
	f.append(ns, "m v=1 1")
	f.append(influx.Target{Database: "other", Precision: "ns"}, "m v=2 1")
	d := f.startAs(Config{Wants: wants}, "near", s, nil)
	eventually(t, "it fails", func() bool { return d.Status().Failures > 1 })
	f.append(influx.Target{Database: "other", Precision: "ns"}, "m v=3 1")
	f.close()
	f.open()
	s.set(all)
	d = f.startAs(Config{Wants: wants}, "near", s, nil)
	stored(t, s, "d//: m v=1 1")
	empty(t, d)
}

func TestLinesAreCountedAfterRefusedOnes(t *testing.T) {
	f := newFixture(t)
	bad := func(l string) bool { return strings.Contains(l, "bad") }
	s := newServer(t, func(_ int, _ string, lines []string) (int, string, func(string) bool) {
		if slices.ContainsFunc(lines, bad) {
			return 400, "partial write: points beyond retention policy dropped=1", bad
		}
		return 204, "", nil
	})
	f.append(ns, "m bad=1 1")
	d := f.start("near", s, nil)
	eventually(t, "it is set aside", func() bool { return d.Status().RejectedLines == 1 })
	f.append(ns, "m v=1 1", "m v=2 2")
	empty(t, d)
	eventually(t, "two lines are counted", func() bool { return d.Status().Lines == 2 })
}

// A line alone of its target that the server chokes on is found by what waits
// for another target.
func TestALonePoisonIsFoundByAnotherTarget(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(_ int, _ string, lines []string) (int, string, func(string) bool) {
		if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "poison") }) {
			return 500, "panic: runtime error", nil
		}
		return 204, "", nil
	})
	f.append(ns, "m poison=1 1")
	f.append(influx.Target{Database: "e", Precision: "ns"}, "m v=2 2")
	d := f.start("near", s, nil)
	storedAtLeastOnce(t, s, "e//: m v=2 2")
	empty(t, d)
	if got := f.rejected("near"); !strings.HasSuffix(got, "\nm poison=1 1\n") {
		t.Errorf("rejected: %q", got)
	}
}

// slow is a server that answers writes when it is told to.
type slow struct {
	*httptest.Server
	mu      sync.Mutex
	waiting map[string]chan int // lines of a write, and the status to answer
	stored  []string
}

func newSlow(t *testing.T) *slow {
	s := &slow{waiting: map[string]chan int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		raw, err := influx.Gunzip(body)
		if err != nil {
			t.Error(err)
		}
		lines := strings.TrimSpace(string(raw))
		answer := make(chan int)
		s.mu.Lock()
		s.waiting[lines] = answer
		s.mu.Unlock()
		select {
		case status := <-answer:
			s.mu.Lock()
			s.stored = append(s.stored, lines)
			s.mu.Unlock()
			w.WriteHeader(status)
		case <-r.Context().Done():
			s.mu.Lock()
			if s.waiting[lines] == answer {
				delete(s.waiting, lines)
			}
			s.mu.Unlock()
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *slow) pending() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for lines := range s.waiting {
		all = append(all, lines)
	}
	slices.Sort(all)
	return all
}

func (s *slow) answer(t *testing.T, lines string, status int) {
	t.Helper()
	eventually(t, "a write of "+lines, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		select {
		case s.waiting[lines] <- status: // nil, and never ready, while there is none
			delete(s.waiting, lines)
			return true
		default:
			return false
		}
	})
}

// target is one of its own for each n, so that nothing is joined.
func target(n int) influx.Target {
	return influx.Target{Database: fmt.Sprintf("d%d", n), Precision: "ns"}
}

func TestSeveralWritesInFlight(t *testing.T) {
	f := newFixture(t)
	s := newSlow(t)
	for n := range 5 {
		f.append(target(n), fmt.Sprintf("m v=%d 1", n))
	}
	d := f.startAs(Config{InFlight: 3}, "slow", &server{Server: s.Server}, nil)
	eventually(t, "three are under way", func() bool { return len(s.pending()) == 3 })
	if got := s.pending(); !slices.Equal(got, []string{"m v=0 1", "m v=1 1", "m v=2 1"}) {
		t.Errorf("under way: %q", got)
	}
	// The first stays: what follows is delivered, and not passed.
	s.answer(t, "m v=1 1", 204)
	s.answer(t, "m v=2 1", 204)
	s.answer(t, "m v=3 1", 204)
	eventually(t, "four lines less one", func() bool { return d.Status().Lines == 3 })
	if got := d.Status().Backlog.Batches; got != 5 {
		t.Errorf("%d batches wait while the first of five does", got)
	}
	s.answer(t, "m v=0 1", 204)
	eventually(t, "four are passed", func() bool { return d.Status().Backlog.Batches == 1 })
	s.answer(t, "m v=4 1", 204)
	eventually(t, "all are passed", func() bool { return d.Status().Backlog.Batches == 0 })
}

// A relay that ends in the middle sends again what was not passed.
func TestAWindowIsSentAgain(t *testing.T) {
	f := newFixture(t)
	s := newSlow(t)
	for n := range 4 {
		f.append(target(n), fmt.Sprintf("m v=%d 1", n))
	}
	d := f.startAs(Config{InFlight: 2}, "slow", &server{Server: s.Server}, nil)
	s.answer(t, "m v=0 1", 204)
	s.answer(t, "m v=2 1", 204)
	eventually(t, "two are delivered, one passed", func() bool { st := d.Status(); return st.Lines == 2 && st.Backlog.Batches == 3 })
	f.close()
	eventually(t, "the server knows that nobody waits for an answer", func() bool { return len(s.pending()) == 0 })
	f.open()
	d = f.startAs(Config{InFlight: 2}, "slow", &server{Server: s.Server}, nil)
	for _, n := range []int{1, 2, 3} {
		s.answer(t, fmt.Sprintf("m v=%d 1", n), 204)
	}
	eventually(t, "all are passed", func() bool { return d.Status().Backlog.Batches == 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, times := range []int{1, 1, 2, 1} {
		if got := len(slices.DeleteFunc(slices.Clone(s.stored), func(l string) bool { return l != fmt.Sprintf("m v=%d 1", n) })); got != times {
			t.Errorf("%d was stored %d times, want %d", n, got, times)
		}
	}
}

// One write that fails leaves the others of the window alone, and shows.
func TestAWindowWithAFailure(t *testing.T) {
	f := newFixture(t)
	s := newSlow(t)
	f.append(target(0), "m v=0 1")
	f.append(target(1), "m v=1 1")
	d := f.startAs(Config{InFlight: 2}, "slow", &server{Server: s.Server}, nil)
	s.answer(t, "m v=0 1", 401)
	s.answer(t, "m v=1 1", 204)
	eventually(t, "held, although the other is stored", func() bool { st := d.Status(); return st.State == Held && st.Lines == 1 })
	s.answer(t, "m v=0 1", 204)
	empty(t, d)
	if st := d.Status(); !strings.Contains(st.LastError, "401") || st.LastErrorAt.IsZero() {
		t.Errorf("the last error is not kept: %+v", st)
	}
}

// Under load, in any order of answers, every line arrives, and the end of it is
// the end.
func TestAWindowUnderLoad(t *testing.T) {
	f := newFixture(t)
	fails := 0
	s := newServer(t, func(n int, _ string, _ []string) (int, string, func(string) bool) {
		if n%7 == 3 && fails < 30 {
			fails++
			return 503, "not now", nil
		}
		return 204, "", nil
	})
	d := f.startAs(Config{InFlight: 4}, "near", s, nil)
	const batches = 400
	for n := range batches {
		f.append(target(n%5), fmt.Sprintf("m v=%d 1", n))
	}
	empty(t, d)
	seen := map[string]bool{}
	for _, l := range s.have() {
		seen[l] = true
	}
	if len(seen) != batches || d.Status().Lines != batches {
		t.Errorf("%d different lines of %d are stored; counted are %d", len(seen), batches, d.Status().Lines)
	}
}

// A write that is cut, since the server is too slow for all of it, keeps the
// order.
func TestAWriteThatIsCutKeepsTheOrder(t *testing.T) {
	f := newFixture(t)
	var want []string
	for n := range 8 {
		lines := make([]string, 1000)
		for i := range lines {
			lines[i] = fmt.Sprintf("m v=%d %d", n, i)
			want = append(want, lines[i])
		}
		f.append(ns, lines...)
	}
	var got []string
	s := &scripted{f: func(n int, b influx.Batch) error {
		if b.Lines > 3000 {
			return &slowError{}
		}
		raw, err := influx.Gunzip(b.Body)
		if err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		if len(lines) != b.Lines {
			t.Errorf("%d lines in a write that is said to have %d", len(lines), b.Lines)
		}
		got = append(got, lines...)
		return nil
	}}
	empty(t, f.startScripted("slow", s))
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(got, want) {
		t.Errorf("%d lines, or in another order; want %d", len(got), len(want))
	}
}
