package deliver

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/spool"
	"github.com/rpicluster/vitals/relay/queue"
)

// patience is for a machine that is slow, or busy: nothing is decided by it.
const patience = 2 * time.Minute

// server is a scripted InfluxDB: its script answers each write, and lines of
// those that it lets pass are stored.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	script func(n int, query string, lines []string) (status int, text string, refused func(line string) bool)
	writes int
	stored []string // "db/rp/precision: line"
}

// all passes everything.
func all(int, string, []string) (int, string, func(string) bool) { return 204, "", nil }

func newServer(t testing.TB, script func(n int, query string, lines []string) (int, string, func(string) bool)) *server {
	t.Helper()
	s := &server{script: script}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		w.WriteHeader(204)
		return
	}
	zr, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	raw, err := io.ReadAll(zr)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	q := r.URL.Query()
	target := q.Get("db") + q.Get("bucket") + "/" + q.Get("rp") + "/" + q.Get("precision")
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	status, text, refused := s.script(s.writes, target, lines)
	if status == 204 || refused != nil {
		for _, l := range lines {
			if refused == nil || !refused(l) {
				s.stored = append(s.stored, target+": "+l)
			}
		}
	}
	if status == 204 {
		w.WriteHeader(204)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q}`, text)
}

func (s *server) have() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.stored)
}

// set changes the script while the server runs.
func (s *server) set(script func(int, string, []string) (int, string, func(string) bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// line of relay is a queue, its destinations and what they log.
type fixture struct {
	t     testing.TB
	dir   string
	queue *queue.Files
	logs  bytes.Buffer
	mu    sync.Mutex
	ends  []context.CancelFunc
	stops []func()
	// patient lets writes that are under way at the end take as long as they like.
	patient bool
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{t: t, dir: t.TempDir()}
	f.open()
	t.Cleanup(f.close)
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	q, err := queue.OpenFiles(spool.Config{Directory: filepath.Join(f.dir, "queue"), KeptBytes: 1 << 20})
	if err != nil {
		f.t.Fatal(err)
	}
	f.queue = q
}

// end tells all destinations to end.
func (f *fixture) end() {
	for _, end := range f.ends {
		end()
	}
	f.ends = nil
}

// close ends all destinations, then the queue.
func (f *fixture) close() {
	f.end()
	for _, stop := range f.stops {
		stop()
	}
	f.stops = nil
	if err := f.queue.Close(); err != nil {
		f.t.Error(err)
	}
}

// Write takes log lines.
func (f *fixture) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logs.Write(p)
}

func (f *fixture) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logs.String()
}

// start starts a destination that delivers to s.
func (f *fixture) start(name string, s *server, options func(*influx.Sender, *influx.Config)) *Destination {
	f.t.Helper()
	return f.startAs(Config{}, name, s, options)
}

// startAs is start with further settings.
func (f *fixture) startAs(how Config, name string, s *server, options func(*influx.Sender, *influx.Config)) *Destination {
	f.t.Helper()
	r, err := f.queue.Reader(name)
	if err != nil {
		f.t.Fatal(err)
	}
	config := influx.Config{URLs: []string{s.URL}, Timeout: patience}
	sender := &influx.Sender{}
	if options != nil {
		options(sender, &config)
	}
	client, err := influx.NewClient(config)
	if err != nil {
		f.t.Fatal(err)
	}
	rejected := NewRejected(filepath.Join(f.dir, "rejected", name), time.Now)
	how.Name, how.URL, how.Required, how.Reader = name, s.URL, true, r
	how.Logger = slog.New(slog.NewTextHandler(f, nil))
	var proof influx.Proof
	how.NewSender = func(refused func(int)) Sender {
		own := *sender
		own.Client, own.Proof = client, &proof
		own.Rejected = func(t influx.Target, lines []byte, reason string) error {
			refused(bytes.Count(lines, []byte("\n")))
			return rejected.Add(t, lines, reason)
		}
		if f.patient {
			return patient{&own}
		}
		return &own
	}
	d := f.run(how)
	f.stops = append(f.stops, client.Close)
	return d
}

// run lets a destination deliver.
func (f *fixture) run(how Config) *Destination {
	d := New(how)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	f.ends = append(f.ends, cancel)
	f.stops = append(f.stops, func() { <-done })
	return d
}

// patient is a sender whose writes nobody breaks off.
type patient struct{ Sender }

func (p patient) Deliver(ctx context.Context, t influx.Target, b influx.Batch) error {
	return p.Sender.Deliver(context.WithoutCancel(ctx), t, b)
}

func (f *fixture) append(t influx.Target, lines ...string) {
	f.t.Helper()
	text := strings.Join(lines, "\n") + "\n"
	b := queue.Batch{Target: t, Lines: len(lines), RawBytes: int64(len(text)), Body: influx.Gzip(nil, []byte(text))}
	if err := f.queue.Append(f.t.Context(), &b); err != nil {
		f.t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// stored waits until the server has exactly these lines.
func stored(t *testing.T, s *server, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		got := s.have()
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("stored (-want +got):\n%s", cmp.Diff(want, got))
		}
	}
}

// storedAtLeastOnce is stored where a batch is taken apart, and lines are
// therefore written more than once.
func storedAtLeastOnce(t *testing.T, s *server, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(patience); !slices.Equal(got, want); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("stored (-want +got):\n%s", cmp.Diff(want, got))
		}
		got = got[:0]
		for _, l := range s.have() {
			if !slices.Contains(got, l) {
				got = append(got, l)
			}
		}
	}
}

// empty waits until nothing is left to deliver.
func empty(t *testing.T, d *Destination) {
	t.Helper()
	eventually(t, "nothing left", func() bool { s := d.Status(); return s.Backlog.Lines == 0 && s.State == Delivering })
}

func (f *fixture) rejected(name string) string {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.dir, "rejected", name, "*.lp"))
	if err != nil {
		f.t.Fatal(err)
	}
	var b strings.Builder
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.t.Fatal(err)
		}
		for l := range strings.Lines(string(text)) {
			if strings.HasPrefix(l, "# ") { // without the time
				_, l, _ = strings.Cut(l[2:], " ")
			}
			b.WriteString(l)
		}
	}
	return b.String()
}

var ns = influx.Target{Database: "d", Precision: "ns"}

func TestABusyServerGetsEverythingInOrder(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(n int, _ string, _ []string) (int, string, func(string) bool) {
		if n <= 3 {
			return []int{503, 500, 429}[n-1], "come later", nil
		}
		return 204, "", nil
	})
	f.append(ns, "m v=1 1", "m v=2 2")
	d := f.start("near", s, nil)
	stored(t, s, "d//: m v=1 1", "d//: m v=2 2")
	f.append(ns, "m v=3 3")
	stored(t, s, "d//: m v=1 1", "d//: m v=2 2", "d//: m v=3 3")
	empty(t, d)
	if got := d.Status(); got.Failures != 3 || got.Lines != 3 || got.LastDelivery.IsZero() || got.Error != "" {
		t.Errorf("%+v", got)
	}
	if log := f.log(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, "takes writes again") != 1 {
		t.Errorf("a failure is logged once, and its end:\n%s", log)
	}
}

func TestNeighboursAreJoinedUnderTheirKey(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 50 {
		f.append(ns, fmt.Sprintf("m v=%d 1", i))
		want = append(want, fmt.Sprintf("d//: m v=%d 1", i))
	}
	f.append(influx.Target{Database: "d", RetentionPolicy: "r", Precision: "us"}, "m v=1 1")
	f.append(influx.Target{Database: "e", Precision: "s"}, "m v=1 1")
	f.append(ns, "m v=1 1")
	want = append(want, "d//: m v=1 1", "d/r/u: m v=1 1", "e//s: m v=1 1")
	s := newServer(t, all)
	d := f.start("near", s, nil)
	stored(t, s, want...)
	empty(t, d)
	if s.writes != 3 {
		t.Errorf("%d writes for three keys", s.writes)
	}
}

func TestAStreamOfSmallBatchesSharesWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var got []string
		s := &scripted{f: func(_ int, b influx.Batch) error {
			raw, err := influx.Gunzip(b.Body)
			got = append(got, strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")...)
			return err
		}}
		d := f.startScripted("near", s)
		var want []string
		for i := range 300 {
			f.append(ns, fmt.Sprintf("m v=%d 1", i))
			want = append(want, fmt.Sprintf("m v=%d 1", i))
			time.Sleep(time.Millisecond)
		}
		empty(t, d)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.Equal(got, want) {
			t.Errorf("%d lines, or in another order; want %d", len(got), len(want))
		}
		if most := int(300*time.Millisecond/pace) + 1; s.n > most {
			t.Errorf("%d writes for 300 small batches, want at most %d", s.n, most)
		}
	})
}

func TestOnlyTheBadLinesAreSetAside(t *testing.T) {
	f := newFixture(t)
	bad := func(l string) bool { return strings.Contains(l, "bad") }
	s := newServer(t, func(_ int, _ string, lines []string) (int, string, func(string) bool) {
		n := 0
		for _, l := range lines {
			if bad(l) {
				n++
			}
		}
		if n == 0 {
			return 204, "", nil
		}
		return 400, fmt.Sprintf(`partial write: field type conflict: input field "bad" on measurement "m" is type float, already exists as type integer dropped=%d`, n), bad
	})
	f.append(ns, "m v=1 1", "m bad=1 2", "m v=3 3")
	d := f.start("near", s, nil)
	storedAtLeastOnce(t, s, "d//: m v=1 1", "d//: m v=3 3")
	empty(t, d)
	want := `db="d" rp="" precision=ns: partial write: field type conflict: input field "bad" on measurement "m" is type float, already exists as type integer dropped=1` + "\nm bad=1 2\n"
	if diff := cmp.Diff(want, f.rejected("near")); diff != "" {
		t.Error(diff)
	}
	if got := d.Status(); got.RejectedLines != 1 || got.Lines != 2 {
		t.Errorf("%d lines are said to be rejected, %d delivered", got.RejectedLines, got.Lines)
	}
}

func TestAnUnknownRetentionPolicyHoldsNothingUp(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(_ int, target string, _ []string) (int, string, func(string) bool) {
		if strings.Contains(target, "/gone/") {
			return 500, "retention policy not found: gone", nil
		}
		return 204, "", nil
	})
	f.append(influx.Target{Database: "d", RetentionPolicy: "gone", Precision: "ns"}, "m v=1 1")
	f.append(ns, "m v=2 2")
	d := f.start("near", s, nil)
	stored(t, s, "d//: m v=2 2")
	empty(t, d)
	if got := f.rejected("near"); !strings.Contains(got, "retention policy not found: gone\nm v=1 1\n") {
		t.Errorf("rejected: %q", got)
	}
}

func TestHoldRaisesAnAlarmAndLosesNothing(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(int, string, []string) (int, string, func(string) bool) {
		return 401, "authorization failed", nil
	})
	f.append(ns, "m v=1 1")
	d := f.start("near", s, nil)
	eventually(t, "held", func() bool { return d.Status().State == Held })
	if got := d.Status(); !strings.Contains(got.Error, "authorization failed") || got.Since.IsZero() || got.Backlog.Lines != 1 {
		t.Errorf("%+v", got)
	}
	s.set(all)
	stored(t, s, "d//: m v=1 1")
	empty(t, d)
	if log := f.log(); strings.Count(log, "level=ERROR") != 1 {
		t.Errorf("the alarm is raised once:\n%s", log)
	}
}

func TestTooLargeIsSplit(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(_ int, _ string, lines []string) (int, string, func(string) bool) {
		if len(lines) > 2 {
			return 413, "Request Entity Too Large", nil
		}
		return 204, "", nil
	})
	f.append(ns, "m v=1 1", "m v=2 2", "m v=3 3", "m v=4 4", "m v=5 5")
	d := f.start("near", s, nil)
	stored(t, s, "d//: m v=1 1", "d//: m v=2 2", "d//: m v=3 3", "d//: m v=4 4", "d//: m v=5 5")
	empty(t, d)
}

func TestAMissingDatabaseIsMade(t *testing.T) {
	f := newFixture(t)
	made := false
	s := newServer(t, func(int, string, []string) (int, string, func(string) bool) {
		if !made {
			return 404, `database not found: "d"`, nil
		}
		return 204, "", nil
	})
	f.append(ns, "m v=1 1")
	d := f.start("near", s, func(sender *influx.Sender, _ *influx.Config) {
		sender.CreateDatabase = func(_ context.Context, name string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			made = name == "d"
			return nil
		}
	})
	stored(t, s, "d//: m v=1 1")
	empty(t, d)
	if got := d.Status().Failures; got != 0 {
		t.Errorf("%d failures", got)
	}
}

func TestALineThatTheServerChokesOnIsFound(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(_ int, _ string, lines []string) (int, string, func(string) bool) {
		if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "poison") }) {
			return 500, "panic: runtime error", nil
		}
		return 204, "", nil
	})
	f.append(ns, "m v=1 1", "m v=2 2", "m poison=3 3", "m v=4 4")
	d := f.start("near", s, nil)
	storedAtLeastOnce(t, s, "d//: m v=1 1", "d//: m v=2 2", "d//: m v=4 4")
	empty(t, d)
	if got := f.rejected("near"); !strings.HasSuffix(got, "\nm poison=3 3\n") {
		t.Errorf("rejected: %q", got)
	}
}

func TestALoneLineThatTheServerChokesOnHoldsNothingUp(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(_ int, _ string, lines []string) (int, string, func(string) bool) {
		if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "poison") }) {
			return 500, "panic: runtime error", nil
		}
		return 204, "", nil
	})
	f.append(ns, "m poison=1 1")
	d := f.start("near", s, nil)
	eventually(t, "failing", func() bool { return d.Status().Failures > 4 })
	f.append(ns, "m v=2 2", "m v=3 3")
	storedAtLeastOnce(t, s, "d//: m v=2 2", "d//: m v=3 3")
	empty(t, d)
	if got := f.rejected("near"); !strings.HasSuffix(got, "\nm poison=1 1\n") {
		t.Errorf("rejected: %q", got)
	}
}

func TestOneDestinationDownDoesNotHoldUpTheOther(t *testing.T) {
	f := newFixture(t)
	up, down := newServer(t, all), newServer(t, func(int, string, []string) (int, string, func(string) bool) {
		return 503, "not now", nil
	})
	a, b := f.start("up", up, nil), f.start("down", down, nil)
	var want []string
	for i := range 20 {
		f.append(ns, fmt.Sprintf("m v=%d 1", i))
		want = append(want, fmt.Sprintf("d//: m v=%d 1", i))
	}
	stored(t, up, want...)
	empty(t, a)
	eventually(t, "the other fails", func() bool { return b.Status().State == Failing })
	if got := b.Status().Backlog.Lines; got != 20 {
		t.Errorf("%d lines wait for the one that is down", got)
	}
	down.set(all)
	stored(t, down, want...)
	empty(t, b)
}

func TestARestartKeepsTheBacklog(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, func(int, string, []string) (int, string, func(string) bool) { return 503, "not now", nil })
	f.append(ns, "m v=1 1")
	f.append(ns, "m v=2 2")
	d := f.start("near", s, nil)
	eventually(t, "it fails", func() bool { return d.Status().Failures > 0 })
	f.close()
	f.open()
	s.set(all)
	d = f.start("near", s, nil)
	stored(t, s, "d//: m v=1 1", "d//: m v=2 2")
	empty(t, d)
}

func TestVersion2(t *testing.T) {
	f := newFixture(t)
	s := newServer(t, all)
	f.append(influx.Target{Database: "d", RetentionPolicy: "r", Precision: "us"}, "m v=1 1")
	d := f.start("two", s, func(_ *influx.Sender, c *influx.Config) { c.Version = 2 })
	stored(t, s, "d/r//us: m v=1 1")
	empty(t, d)
}

// script is a Sender.
type script func(n int, b influx.Batch) error

// scripted counts the calls.
type scripted struct {
	mu sync.Mutex
	n  int
	f  script
}

func (s *scripted) Deliver(_ context.Context, _ influx.Target, b influx.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.f(s.n, b)
}

func (s *scripted) Prove(context.Context, influx.Target, []byte) {}

// startScripted starts a destination that delivers to s.
func (f *fixture) startScripted(name string, s *scripted) *Destination {
	f.t.Helper()
	r, err := f.queue.Reader(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.run(Config{Name: name, Reader: r, NewSender: func(func(int)) Sender { return s }, Logger: discard()})
}

func TestAServerThatIsTooSlowGetsLessAtOnce(t *testing.T) {
	f := newFixture(t)
	for range 40 {
		text := strings.Repeat("m v=1 1\n", 5000)
		b := queue.Batch{Target: ns, Lines: 5000, RawBytes: int64(len(text)), Body: influx.Gzip(nil, []byte(text))}
		if err := f.queue.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	lines := 0
	s := &scripted{f: func(n int, b influx.Batch) error {
		if b.Lines > 10_000 {
			return &slowError{}
		}
		lines += b.Lines
		return nil
	}}
	f.startScripted("slow", s)
	eventually(t, "all lines", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return lines == 40*5000 })
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

type slowError struct{}

func (*slowError) Error() string { return "no answer in time" }
func (*slowError) Unwrap() error { return context.DeadlineExceeded }

func TestRejectedFilesAreBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rejected", "near")
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	r := NewRejected(dir, func() time.Time { now = now.Add(time.Second); return now })
	lines := bytes.Repeat([]byte("m v=\""+strings.Repeat("x", 1<<14)+"\" 1\n"), 32) // half a MiB
	for range 150 {
		if err := r.Add(ns, lines, "no\nreason"); err != nil {
			t.Fatal(err)
		}
	}
	total := int64(0)
	files, _ := filepath.Glob(filepath.Join(dir, "*.lp"))
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > rejectedTotal+rejectedFile || total < rejectedTotal/2 || r.Lost() == 0 {
		t.Errorf("%d bytes in %d files, %d lost", total, len(files), r.Lost())
	}
	for range 3 { // somebody takes the files away
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := r.Add(ns, []byte("m v=1 1"), "x"); err != nil {
			t.Error(err)
		}
	}
}
