package tests

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// requireKept fails unless err, a verdict, is nil.
func requireKept(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestRelayFaultKilledUnderFiftyClients(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 1))
	kills := faultCount(t, 30, 1000)
	r := newRig(t, queueOfSmallSegments)
	r.run()
	crowd := r.load(1, 50, 100*time.Millisecond)
	for n := range kills {
		before := r.book.count()
		time.Sleep(time.Duration(20+random.IntN(400)) * time.Millisecond)
		awaitLoad(t, before, r.book.count)
		r.end(syscall.SIGKILL)
		r.run()
		progress(t, n+1, kills, r.book)
	}
	crowd.end()
	requireKept(t, "R1", r.settle())
	t.Logf("R1 kill -9 under 50 clients: %d kills; %v", kills, r.book)
}

// life is a relay's, found with a backlog and a torn commit, that writes, and
// delivers, and removes what is delivered, until something ends it.
type life struct {
	*rig
	template string
	before   *ledger
	killat   string
	poisoned bool // a line was accepted that the destination never takes
}

func newLife(t *testing.T, program string) *life {
	t.Helper()
	l := &life{rig: newRig(t, queueOfSmallSegments)}
	l.book.unordered = true // what is refused in part is taken apart
	if program != "" {
		l.program = program
	}
	l.killat = l.buildProgram("./tests/killat", "")
	l.sink.down()
	l.run()
	client := newClient(t)
	for n := range int64(12) {
		l.post(client, 10*n, 10*n+10)
	}
	l.end(syscall.SIGKILL)
	segments, err := filepath.Glob(l.path("relay/queue/kept/*.gz"))
	if err != nil || len(segments) < 2 {
		t.Fatalf("segments: %v, %v", segments, err)
	}
	last := segments[len(segments)-1]
	text, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(last, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(text[:300]) // a commit that a crash has cut short
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	l.sink.does(func(w http.ResponseWriter, req *http.Request, lines []byte) {
		good, bad := part(lines)
		if len(bad) > 0 {
			refusals[0].does(l.sink, w, req, good, bad)
			return
		}
		l.sink.book.deliver(good)
		w.WriteHeader(http.StatusNoContent)
	})
	l.template, l.before = l.path("template"), l.book
	if err := os.Rename(l.path("relay"), l.template); err != nil {
		t.Fatal(err)
	}
	l.sink.up()
	return l
}

// begin puts everything back to the beginning.
func (l *life) begin() {
	if err := os.RemoveAll(l.path("relay")); err != nil {
		l.t.Fatal(err)
	}
	copyTree(l.t, l.template, l.path("relay"))
	l.book = l.before.fork()
	l.sink.use(l.book)
	l.poisoned = false
}

// live lives the life under another program. It ends by itself with SIGTERM, or
// before that by what the other program does.
func (l *life) live(under ...string) {
	l.under = under
	defer func() { l.under = nil }()
	client := newClient(l.t)
	if l.tryRun() {
		for n := int64(20); n < 36 && l.relay.running(); n++ {
			if n == 24 {
				resp, err := client.Post(l.url()+"/write?db=chk", "text/plain", strings.NewReader(poison(0)))
				if err == nil {
					l.poisoned = resp.StatusCode == 204
					resp.Body.Close()
				}
			}
			l.post(client, 10*n, 10*n+10)
			if n%5 == 0 {
				time.Sleep(30 * time.Millisecond) // for a delivery
			}
		}
	}
	l.end(syscall.SIGTERM)
}

// settleAfter has the relay find what is left, takes two more writes and gives
// the verdict.
func (l *life) settleAfter() error {
	l.run()
	client := newClient(l.t)
	for n := int64(50); n < 52; n++ {
		if o := l.post(client, 10*n, 10*n+10); o.status != 204 {
			return fmt.Errorf("a relay that runs again answers %d: %s", o.status, o.body)
		}
	}
	err := l.settle()
	l.end(syscall.SIGKILL)
	if err == nil && l.poisoned && l.setAside()[poison(0)] == 0 {
		err = errors.New("a line that was to be set aside is lost")
	}
	return err
}

// killedAt kills the relay at one of its calls, and reports whether it made so
// many, which call it was, and what was lost.
func (l *life) killedAt(n int, after bool) (reached bool, call string, verdict error) {
	l.begin()
	report := l.path("report")
	l.live(l.killat, "-at", itoa(n), fmt.Sprintf("-after=%v", after), "-dwell=20ms", "-report", report)
	var calls int
	fmt.Sscan(l.read("report"), &calls, &call)
	return calls >= n, call, l.settleAfter()
}

func TestRelayFaultKilledAtEachSystemCall(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 2))
	l := newLife(t, "")
	if _, _, err := l.killedAt(1<<30, false); err != nil {
		t.Fatal("without any fault:", err)
	}
	var calls int
	fmt.Sscan(l.read("report"), &calls)
	// One life makes a few calls more or fewer than another.
	points := random.Perm(2 * (calls + calls/10))
	points = points[:min(faultCount(t, 30, len(points)), len(points))]
	at, beyond := map[string]int{}, 0
	for i, point := range points {
		n, after := 1+point/2, point%2 == 1
		reached, call, err := l.killedAt(n, after)
		if err != nil {
			t.Errorf("killed at call %d (%s, after it: %v): %v", n, call, after, err)
		}
		if reached {
			at[call]++
		} else {
			beyond++
		}
		progress(t, i+1, len(points), l.book)
	}
	t.Logf("R2 killed at a system call: %d of %d points, %d of them beyond the end; %v; the last: %v", len(points), 2*calls, beyond, at, l.book)
	if len(at) < 3 {
		t.Errorf("killed at %v only", at)
	}
}

// failure is a system call that goes wrong, as strace is told of it.
type failure struct {
	call, how string
	when      int
	forever   bool
}

func (f failure) String() string {
	text := fmt.Sprintf("%s:%s:when=%d", f.call, f.how, f.when)
	if f.forever {
		text += "+"
	}
	return text
}

// failures are all calls, errors and moments. strace counts by thread.
func failures() (all []failure) {
	for _, call := range []string{"fdatasync", "fsync", "pwritev", "linkat", "unlinkat", "renameat", "ftruncate", "openat"} {
		ways := []string{"error=EIO", "error=ENOSPC"}
		if call == "pwritev" {
			ways = append(ways, "retval=40") // so many bytes and no more
		}
		for _, how := range ways {
			for when := 1; when <= 6; when++ {
				all = append(all, failure{call, how, when, false}, failure{call, how, when, true})
			}
		}
	}
	return all
}

func (m *machine) strace(options ...string) []string {
	m.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		m.t.Fatal("strace is missing; sh tests/install.sh installs it")
	}
	return append([]string{"strace", "-f", "-qq", "-o", m.path("trace")}, options...)
}

// failing lives a life in which a call fails and returns what is wrong then.
func (l *life) failing(f failure) error {
	l.begin()
	given := len(l.book.accepted)
	l.live(l.strace("-e", "trace="+f.call, "-e", "inject="+f.String())...)
	commits := f.call == "fdatasync" || f.call == "pwritev" || f.call == "fsync" || f.call == "linkat"
	if n := len(l.book.accepted) - given; commits && f.forever && f.when == 1 && n > 0 {
		return fmt.Errorf("%d lines were accepted although no %s can succeed", n, f.call)
	}
	return l.settleAfter()
}

func TestRelayFaultSystemCallsFail(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 5))
	l := newLife(t, "")
	all := failures()
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	// The ones that must not be missing in a short run.
	all = append([]failure{{"fdatasync", "error=EIO", 1, true}, {"fsync", "error=EIO", 4, true}, {"pwritev", "retval=40", 2, false}}, all...)
	all = all[:min(faultCount(t, 16, len(all)), len(all))]
	injected := 0
	for i, f := range all {
		if err := l.failing(f); err != nil {
			t.Errorf("%v: %v", f, err)
		}
		if strings.Contains(l.read("trace"), "(INJECTED)") {
			injected++
		}
		progress(t, i+1, len(all), l.book)
	}
	t.Logf("R2, R5 system calls fail: %d runs, %d in which one did; the last: %v", len(all), injected, l.book)
	if injected < len(all)/4 {
		t.Errorf("calls failed in %d of %d runs only", injected, len(all))
	}
}

// A disk that fails for a moment costs a 503, not a restart.
func TestRelayFaultRecoversFromAFailedSync(t *testing.T) {
	t.Parallel()
	r := newRig(t, queueOfSmallSegments)
	r.under = r.strace("-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=3+4")
	r.run()
	client := newClient(t)
	answers := map[int]int{}
	for n := range int64(60) {
		answers[r.post(client, 10*n, 10*n+10).status]++
	}
	requireKept(t, "R5", r.settle())
	t.Logf("R5 a quarter of all syncs fail: answers %v; %v", answers, r.book)
	if answers[503] == 0 || answers[204] == 0 || answers[503]+answers[204] != 60 {
		t.Errorf("answers: %v", answers)
	}
	r.end(syscall.SIGTERM)
}

func TestRelayFaultFrozenAndSlowDisk(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 6))
	runs := faultCount(t, 2, 50)
	r := newRig(t, "[relay.queue]\n  kept_bytes = \"1MB\"\n")
	var peak int64
	for n := range runs {
		delay := 1 + random.IntN(4)
		r.under = r.strace("-e", "trace=fdatasync", "-e", fmt.Sprintf("inject=fdatasync:delay_enter=%ds", delay))
		r.run()
		crowd := r.load(1+50*n, 50, 50*time.Millisecond)
		for range 2 {
			time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
			_ = syscall.Kill(r.pid(), syscall.SIGSTOP)
			time.Sleep(time.Duration(500+random.IntN(1000)) * time.Millisecond)
			_ = syscall.Kill(r.pid(), syscall.SIGCONT)
		}
		crowd.end()
		peak = max(peak, usageOf(t, r.pid()).peak)
		r.end(syscall.SIGKILL)
		r.under = nil
		r.run()
		requireKept(t, "R6", r.settle())
		r.end(syscall.SIGKILL)
		progress(t, n+1, runs, r.book)
	}
	t.Logf("R6 frozen, and syncs of 1 to 4 s: %d runs; peak %d MiB; %v", runs, peak>>20, r.book)
	if len(r.book.accepted) == 0 || peak > 256<<20 {
		t.Errorf("%d lines accepted, peak %d MiB", len(r.book.accepted), peak>>20)
	}
}
