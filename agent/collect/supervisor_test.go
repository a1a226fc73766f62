package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/internal/line"
)

// lab runs a supervisor with fake plugins and keeps what they answer.
type lab struct {
	t      *testing.T
	dir    string
	config Config
	s      *Supervisor
	log    *syncBuffer

	mu    sync.Mutex
	lines []line.Line
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newLab(t *testing.T) *lab {
	t.Helper()
	run, err := os.MkdirTemp("", "vitals") // socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	l := &lab{t: t, dir: t.TempDir(), log: &syncBuffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.log.String())
		}
	})
	l.config = Config{
		startTimeout: patience, startPatience: patience,
		Host: "n1", Tags: map[string]string{"host": "n1", "rack": "a"}, RoundInterval: true,
		Builtin: []string{os.Args[0], "plugin"}, Runtime: run, Sink: l.take, hangTime: time.Second,
		DropIns: trust.Rules{Directories: []string{l.dir}, Owner: os.Getuid()}, Shim: []string{os.Args[0], "exec-plugin"},
		Logger: slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return l
}

func (l *lab) take(_ context.Context, lines []byte, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := append([]byte(nil), lines...)
	for range n {
		var cut line.Line
		var err error
		if cut, rest, err = line.Cut(rest); err != nil {
			l.t.Errorf("%q: %v", lines, err)
			return
		}
		l.lines = append(l.lines, cut)
	}
}

// patience is for what may be slow, on a machine that is.
const patience = 2 * time.Minute

// add makes an instance of the fake collector; its behaviour is set with tell.
// It wishes to be waited for as long as a busy machine may take: see hasty.
func (l *lab) add(id, name string, change func(*config.Input)) {
	l.t.Helper()
	dir := filepath.Join(l.dir, id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	options, err := json.Marshal(map[string]any{"dir": dir, "Patience": patience})
	if err != nil {
		l.t.Fatal(err)
	}
	in := config.Input{
		ID: id, Name: name, Interval: 200 * time.Millisecond, Precision: time.Millisecond, JSON: options,
		Tags: map[string]string{"id": id},
	}
	if change != nil {
		change(&in)
	}
	l.config.Inputs = append(l.config.Inputs, in)
}

// dropIn is a program of its own.
func (l *lab) dropIn(name, script string) func(*config.Input) {
	l.t.Helper()
	path := filepath.Join(l.dir, "vitals-plugin-"+name)
	if script == "" {
		script = "exec '" + os.Args[0] + "' plugin"
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	return func(in *config.Input) { in.Executable = path }
}

// tell makes an instance do something from its next gather on; untell ends it.
func (l *lab) tell(id, what string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, id, what), nil, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) untell(id, what string) {
	l.t.Helper()
	if err := os.Remove(filepath.Join(l.dir, id, what)); err != nil {
		l.t.Fatal(err)
	}
}

// start runs the supervisor until the test ends.
func (l *lab) start() {
	l.t.Helper()
	var err error
	l.s, err = Start(l.t.Context(), l.config)
	l.t.Cleanup(l.s.Close)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.s.Run(ctx)
	}()
	l.t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (l *lab) of(id string) []line.Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []line.Line
	for _, one := range l.lines {
		if got, _ := one.Tag("id"); got == id {
			all = append(all, one)
		}
	}
	return all
}

// more waits until n more lines of id have come.
func (l *lab) more(id string, n int) {
	l.t.Helper()
	want := len(l.of(id)) + n
	l.until(id+" gathers", func() bool { return len(l.of(id)) >= want })
}

func (l *lab) until(what string, holds func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("in vain waited until %s; status %+v", what, l.s.Status())
		}
	}
}

func (l *lab) status(id string) Status {
	l.t.Helper()
	for _, s := range l.s.Status() {
		if s.ID == id {
			return s
		}
	}
	l.t.Fatalf("no input %q", id)
	return Status{}
}

// slowly gives a busy machine time enough to keep every tick.
func slowly(in *config.Input) { in.Interval = 2 * time.Second }

// hasty has an answer taken for late before the next tick: after 450 ms.
func (l *lab) hasty(in *config.Input) {
	in.Interval, in.JSON = 500*time.Millisecond, []byte(`{"dir":"`+filepath.Join(l.dir, in.ID)+`"}`)
}

func both(one, other func(*config.Input)) func(*config.Input) {
	return func(in *config.Input) {
		one(in)
		other(in)
	}
}

// gaps returns how many ticks of id, which gathers slowly, are missing between
// its first and last line.
func (l *lab) gaps(id string) (missing int) {
	l.t.Helper()
	var last int64
	for _, one := range l.of(id) {
		var at int64
		if _, err := fmt.Sscan(string(one.Timestamp), &at); err != nil {
			l.t.Fatal(err)
		}
		if last > 0 {
			missing += int((at-last)/int64(2*time.Second)) - 1
		}
		last = at
	}
	return missing
}

func TestLinesAreTaggedAndStampedWithTheirTick(t *testing.T) {
	l := newLab(t)
	l.add("a", "even", l.dropIn("even", ""))
	l.add("b", "steady", func(in *config.Input) { in.NameOverride, in.Prefix, in.Alias = "x", "p_", "b" })
	l.start()
	l.more("a", 2)
	l.more("b", 2)
	a, b := l.of("a")[0], l.of("b")[0]
	if a.Name() != "steady" || string(a.Tags) != "host=n1,id=a,rack=a" {
		t.Errorf("%s,%s", a.Name(), a.Tags)
	}
	if b.Name() != "p_x" {
		t.Error(b.Name())
	}
	for _, one := range append(l.of("a"), l.of("b")...) {
		var nano int64
		if _, err := fmt.Sscan(string(one.Timestamp), &nano); err != nil || nano%int64(200*time.Millisecond) != 0 {
			t.Errorf("timestamp %s is no tick", one.Timestamp)
		}
	}
	l.until("that is counted", func() bool { s := l.status("a"); return s.State == StateOK && s.Gathered >= 2 })
	sa, sb := l.status("a"), l.status("b")
	if sa.PID == sb.PID || sa.Program != "vitals-plugin-even" || sb.Program != "built-in" {
		t.Errorf("%+v\n%+v", sa, sb)
	}
}

func TestAKilledProcessCostsAtMostOneTick(t *testing.T) {
	l := newLab(t)
	l.add("victim", "steady", both(slowly, l.dropIn("steady", "")))
	l.add("other", "steady", slowly)
	l.start()
	l.more("victim", 1)
	pid := l.status("victim").PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.more("victim", 2)
	s := l.status("victim")
	if s.PID == pid || s.Restarts != 1 {
		t.Errorf("%+v", s)
	}
	if n := l.gaps("victim"); n > 1 {
		t.Errorf("%d ticks are missing", n)
	}
	if n := l.gaps("other"); n > 0 || l.status("other").Restarts > 0 {
		t.Errorf("%d ticks of another are missing", n)
	}
}

func TestAProcessThatDiesWhileGatheringIsAskedAgain(t *testing.T) {
	for _, how := range []string{"exit", "panic"} {
		t.Run(how, func(t *testing.T) {
			l := newLab(t)
			l.add("a", "steady", nil)
			l.start()
			l.more("a", 1)
			l.tell("a", how)
			l.until("it dies", func() bool { return l.status("a").Restarts > 0 })
			l.untell("a", how)
			l.until("it is well again", func() bool { return l.status("a").State == StateOK })
			l.more("a", 2)
		})
	}
}

func TestAnInstanceThatHangsGetsAProcessOfItsOwn(t *testing.T) {
	t.Run("built in", func(t *testing.T) { hangs(t, func(*lab) func(*config.Input) { return func(*config.Input) {} }) })
	t.Run("dropped in", func(t *testing.T) { hangs(t, func(l *lab) func(*config.Input) { return l.dropIn("both", "") }) })
}

func hangs(t *testing.T, in func(*lab) func(*config.Input)) {
	t.Helper()
	l := newLab(t)
	l.add("hanging", "steady", both(l.hasty, in(l)))
	l.add("other", "steady", both(in(l), slowly))
	l.start()
	l.more("hanging", 1)
	l.more("other", 1)
	shared := l.status("other").PID
	l.tell("hanging", "hang")
	l.until("that is told", func() bool {
		s := l.status("hanging")
		return s.State == StateFailing && strings.Contains(s.LastError, "no answer within 450ms")
	})
	l.until("it has moved", func() bool { pid := l.status("hanging").PID; return pid != shared && pid != 0 })
	own := l.status("hanging").PID
	l.until("its own process is killed", func() bool { return l.status("hanging").Restarts > 0 })
	l.untell("hanging", "hang")
	l.more("hanging", 2)
	if now := l.status("hanging").PID; now == own || now == shared {
		t.Errorf("process %d, its first own was %d", now, own)
	}
	if l.status("other").PID != shared {
		t.Error("the shared process was killed")
	}
	if n := l.gaps("other"); n > 0 {
		t.Errorf("%d ticks of another are missing", n)
	}
}

func TestASharedProcessThatHangsAsAWholeIsKilled(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", l.hasty)
	l.add("b", "steady", l.hasty)
	l.start()
	l.more("a", 1)
	l.more("b", 1)
	pid := l.status("a").PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.until("there is another process", func() bool { now := l.status("a").PID; return now != 0 && now != pid })
	l.more("a", 2)
	l.more("b", 2)
	if a, b := l.status("a"), l.status("b"); a.PID != b.PID {
		t.Errorf("they no longer share: %+v %+v", a, b)
	}
}

func TestAnInstanceThatKeepsCrashingTheSharedProcess(t *testing.T) {
	l := newLab(t)
	l.add("culprit", "steady", nil)
	l.add("other", "steady", nil)
	l.start()
	l.more("other", 1)
	shared := l.status("other").Program
	l.tell("culprit", "exit")
	l.until("they are parted", func() bool {
		a, b := l.status("culprit"), l.status("other")
		return a.Restarts > 0 && b.PID != 0 && a.PID != b.PID && b.State == StateOK && strings.Contains(l.log.String(), "keeps crashing")
	})
	pid := l.status("other").PID
	l.more("other", 5)
	if s := l.status("other"); s.PID != pid || s.Restarts != 0 || s.Program != shared {
		t.Errorf("%+v", s)
	}
	l.untell("culprit", "exit")
	l.more("culprit", 2)
}

// An input that comes while the others leave the process that they share is not
// left behind in it.
func TestAnInputThatComesWhileTheOthersArePartedIsGathered(t *testing.T) {
	l := newLab(t)
	l.config.restartDelay = 10 * time.Millisecond
	l.add("culprit", "steady", nil)
	l.add("other", "steady", nil)
	l.add("late", "steady", nil)
	late := l.config.Inputs[2]
	l.config.Inputs = l.config.Inputs[:2]
	l.start()
	l.more("other", 1)
	comes := l.s.instance(late)
	for _, in := range l.s.all() {
		leave := in.isolate
		in.isolate = func(in *instance) {
			leave(in)
			if g, _ := comes.host(); g == nil {
				l.s.place(comes)
			}
		}
	}
	l.status("culprit") // after which its group sees the change
	l.tell("culprit", "exit")
	l.until("they are parted", func() bool { return strings.Contains(l.log.String(), "keeps crashing") })
	l.until("its program runs", func() bool { g, _ := comes.host(); return g != nil && g.running() != nil })
}

func TestBadLinesAreDroppedOneByOne(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", nil)
	l.tell("a", "bad")
	l.start()
	l.more("a", 4)
	l.until("they are counted", func() bool { s := l.status("a"); return s.BadLines >= 6 && s.Gathered >= 4 })
	if s := l.status("a"); s.State != StateOK || s.BadLines*2 != s.Gathered*3 {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(l.log.String(), "bad lines were dropped"); n != 3 {
		t.Errorf("said %d times", n)
	}
}

func TestAnswersThatAreTooLongAreRefused(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", func(in *config.Input) { in.Interval = time.Second })
	l.tell("a", "big")
	l.start()
	l.until("it is refused", func() bool { return strings.Contains(l.status("a").LastError, "more than 4 MiB") })
	l.untell("a", "big")
	l.more("a", 1)
	if s := l.status("a"); s.Restarts != 0 || s.State != StateOK {
		t.Errorf("%+v", s)
	}
}

func TestLinesThatAccompanyAnErrorAreKept(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", nil)
	l.tell("a", "error")
	l.start()
	l.more("a", 3)
	if s := l.status("a"); s.State != StateFailing || s.LastError != "half of it is missing" || s.Errors < 2 || s.StartupErrors != 0 || s.Spent < s.LastDuration {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(l.log.String(), "gathering failed"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestAPluginThatLogsWithoutEndIsCutShort(t *testing.T) {
	l := newLab(t)
	// A busy machine takes its time to read what is then thrown away.
	l.add("a", "steady", both(l.dropIn("flood", ""), func(in *config.Input) { in.Interval = 3 * time.Second }))
	l.tell("a", "flood")
	begun := time.Now()
	l.start()
	l.more("a", 2)
	l.until("some of it is logged", func() bool { return strings.Contains(l.log.String(), "on and on") })
	if n := strings.Count(l.log.String(), "on and on"); n > 80+int(time.Since(begun).Seconds()) { // one more each second
		t.Errorf("%d lines of its log", n)
	}
}

// go-plugin panics, in the agent, on an entry whose message is not a string.
func TestMisleadingLogEntriesAreText(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", l.dropIn("misleading", ""))
	l.tell("a", "misleading")
	l.start()
	l.more("a", 3)
	for _, want := range []string{`{\"@message\": 5}`, "a list for a level", "no time", "an honest entry"} {
		l.until("the log says "+want, func() bool { return strings.Contains(l.log.String(), want) })
	}
}

func TestADeadProcessIsNoticedInSpiteOfItsOffspring(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", both(slowly, l.dropIn("offspring", "")))
	l.tell("a", "offspring")
	l.start()
	l.more("a", 1)
	l.untell("a", "offspring")
	var child int
	for _, raw := range l.of("a")[0].EachField() {
		fmt.Sscanf(string(raw), "%di", &child)
	}
	if err := syscall.Kill(l.status("a").PID, syscall.SIGKILL); err != nil || child == 0 {
		t.Fatal(err, child)
	}
	l.more("a", 2)
	if n := l.gaps("a"); n > 1 {
		t.Errorf("%d ticks are missing", n)
	}
	l.until("its offspring is gone", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestAProgramThatDoesNotStart(t *testing.T) {
	f := func(name string, within time.Duration, script, want string) {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.config.startTimeout = within
			l.add("a", "broken", l.dropIn("broken", script))
			l.add("other", "steady", nil)
			l.start()
			l.until("it is reported", func() bool { return strings.Contains(l.status("a").LastError, want) })
			l.more("other", 1)
			if s := l.status("a"); s.State != StateFailing || s.PID != 0 || s.StartupErrors < 1 || s.Refusals != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	f("it ends", 0, "echo there is no module grpc >&2; exit 1", "vitals-plugin-broken: it last said: there is no module grpc (it ended without the go-plugin handshake)")
	f("it says something else", 0, "echo hello", `it printed "hello" where the go-plugin handshake belongs`)
	f("it says nothing", 3*time.Second, "exec sleep 60", "no handshake within 3s")
	f("it cannot be run", 0, "\nexec /nowhere/at/all", "not found")
}

func TestStreamsArePassedOnAndBegunAgain(t *testing.T) {
	l := newLab(t)
	l.add("a", "events", nil)
	l.start()
	l.more("a", 6)
	l.until("its end is told", func() bool { return l.status("a").LastError == "the stream has ended" })
}

func TestACollectorsOwnIntervalAndFirstGather(t *testing.T) {
	l := newLab(t)
	l.add("default", "rare", func(in *config.Input) { in.Interval = time.Minute })
	l.add("set", "rare", func(in *config.Input) { in.Interval, in.IntervalSet = 30*time.Minute, true })
	l.start()
	for _, id := range []string{"default", "set"} {
		l.until("it gathers at start", func() bool { return len(l.of(id)) > 0 })
	}
	if got := l.status("default").Interval; got != time.Hour {
		t.Error(got)
	}
	if got := l.status("set").Interval; got != 30*time.Minute {
		t.Error(got)
	}
}

func TestRefusedOptionsOfADropIn(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", func(in *config.Input) { in.JSON = []byte(`{"Wrong":"x"}`) })
	l.add("b", "steady", nil)
	s, err := Start(t.Context(), l.config)
	defer s.Close()
	if err == nil || !strings.Contains(err.Error(), "Wrong") || !strings.Contains(err.Error(), "is wrong") {
		t.Error(err)
	}
	if a, b := s.Status()[0], s.Status()[1]; a.Refusals != 1 || a.StartupErrors != 1 || a.Errors != 1 || b.StartupErrors != 0 {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func TestHostTagIsLeftOffWhereACollectorNamesItsMachine(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", func(in *config.Input) {
		in.JSON = []byte(`{"dir":"` + filepath.Join(l.dir, "a") + `","OmitHost":true}`)
	})
	l.start()
	l.more("a", 1)
	if got := string(l.of("a")[0].Tags); got != "id=a,rack=a" {
		t.Error(got)
	}
}

func TestPluginsDoNotSeeTheAgentsSecrets(t *testing.T) {
	t.Setenv("INFLUX_TOKEN", "secret")
	t.Setenv("HOST_PROC", "/host/proc")
	l := newLab(t)
	l.add("a", "steady", func(in *config.Input) { in.Env, in.Isolate = map[string]string{"MINE": "yes"}, true })
	l.tell("a", "environment")
	l.start()
	l.more("a", 1)
	got := string(l.of("a")[0].Fields)
	if strings.Contains(got, "secret") {
		t.Error(got)
	}
	for _, want := range []string{"HOST_PROC=/host/proc", "MINE=yes", "VITALS_LIFELINE_FD=3", "GOMAXPROCS=1", "PATH="} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

// A drop-in finds what the installation has for Python; the built-in collectors
// have no use for it.
func TestDropInsFindThePythonModule(t *testing.T) {
	t.Setenv("PYTHONPATH", "/of/the/agent")
	l := newLab(t)
	l.add("builtin", "steady", nil)
	l.add("dropin", "steady", l.dropIn("plain", ""))
	l.add("own", "steady", func(in *config.Input) {
		l.dropIn("own", "")(in)
		in.Env, in.Isolate = map[string]string{"PYTHONPATH": "/mine"}, true
	})
	for _, id := range []string{"builtin", "dropin", "own"} {
		l.tell(id, "environment")
	}
	l.start()
	for id, want := range map[string]string{"dropin": "PYTHONPATH=/usr/lib/vitals/python", "own": "PYTHONPATH=/mine", "builtin": ""} {
		l.more(id, 1)
		got := string(l.of(id)[0].Fields)
		if !strings.Contains(got, want) || strings.Count(got, "PYTHONPATH=") != min(1, len(want)) {
			t.Errorf("%s: %s", id, got)
		}
	}
}

func TestGatherAll(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", nil)
	l.add("b", "steady", nil)
	l.tell("b", "error")
	s, err := Start(t.Context(), l.config)
	defer s.Close()
	if err != nil {
		t.Fatal(err)
	}
	err = s.GatherAll(t.Context())
	if err == nil || err.Error() != "b: half of it is missing" {
		t.Error(err)
	}
	if len(l.of("a")) != 1 || len(l.of("b")) != 1 {
		t.Errorf("%d and %d lines", len(l.of("a")), len(l.of("b")))
	}
}

func TestCloseIsBoundedAndLeavesNothing(t *testing.T) {
	l := newLab(t)
	l.add("frozen", "steady", l.dropIn("frozen", ""))
	l.add("well", "steady", nil)
	s, err := Start(t.Context(), l.config)
	if err != nil {
		t.Fatal(err)
	}
	l.s = s
	frozen, well := l.status("frozen").PID, l.status("well").PID
	if err := syscall.Kill(frozen, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Close()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Close hangs")
	}
	for _, pid := range []int{frozen, well} {
		l.until("the process is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	}
	if left, _ := filepath.Glob(filepath.Join(l.config.Runtime, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
