package tests

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// How long and how often faults are made, and by which numbers:
//
//	VITALS_FAULT_TIME=10m VITALS_FAULT_RUNS=1000 VITALS_SEED=17 go test -run Fault -v ./tests
func faultTime(t *testing.T, usual time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("VITALS_FAULT_TIME")
	if text == "" {
		return usual
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal("VITALS_FAULT_TIME:", err)
	}
	return d
}

func faultRuns(t *testing.T) int { return int(setting(t, "VITALS_FAULT_RUNS", 300)) }

func faultSeed(t *testing.T) uint64 {
	t.Helper()
	seed := setting(t, "VITALS_SEED", uint64(time.Now().UnixNano()))
	t.Logf("VITALS_SEED=%d", seed)
	return seed
}

func setting(t *testing.T, variable string, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(variable+":", err)
	}
	return n
}

// arrivals is a server that agents write to. It keeps when the line of each
// second has arrived, by series.
type arrivals struct {
	*httptest.Server
	mu     sync.Mutex
	series map[string]map[int64][]time.Time // by second
	said   map[string]map[int64]string      // the versions that lines tell of, by second
	wrong  []string
}

func newArrivals(t *testing.T) *arrivals {
	a := &arrivals{series: map[string]map[int64][]time.Time{}, said: map[string]map[int64]string{}}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *arrivals) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/write" {
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
		a.take(text, time.Now())
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *arrivals) take(body []byte, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		l, rest, err := line.Cut(body)
		if err == io.EOF {
			return
		}
		body = rest
		at, stampErr := strconv.ParseInt(string(l.Timestamp), 10, 64)
		if err != nil || stampErr != nil {
			a.wrong = append(a.wrong, fmt.Sprintf("%v %v", err, stampErr))
			continue
		}
		name := seriesOf(l)
		if name == "" {
			continue
		}
		if tick, ok := field(l, "tick"); ok && tick != at {
			a.wrong = append(a.wrong, fmt.Sprintf("%s: the answer for tick %d came as that for %d", name, tick, at))
		}
		if a.series[name] == nil {
			a.series[name], a.said[name] = map[int64][]time.Time{}, map[int64]string{}
		}
		second := at / int64(time.Second)
		a.series[name][second] = append(a.series[name][second], now)
		for key, raw := range l.EachField() {
			if key == "version" {
				a.said[name][second] = strings.Trim(string(raw), `"`)
			}
		}
	}
}

// seriesOf names the one series of each input that is counted.
func seriesOf(l line.Line) string {
	switch l.Name() {
	case "cpu":
		if cpu, _ := l.Tag("cpu"); cpu != "cpu-total" {
			return ""
		}
	case "faulty":
		input, _ := l.Tag("input")
		return input
	case "junk":
		return ""
	}
	if made, ok := l.Tag("made_in"); ok {
		return made
	}
	return l.Name()
}

func field(l line.Line, key string) (int64, bool) {
	for name, raw := range l.EachField() {
		if name == key {
			n, err := strconv.ParseInt(strings.TrimSuffix(string(raw), "i"), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// after returns when the first line of a series arrived whose tick is not
// before a moment.
func (a *arrivals) after(series string, moment time.Time) (arrived time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for second, at := range a.series[series] {
		if second*int64(time.Second) >= moment.UnixNano() && (!ok || at[0].Before(arrived)) {
			arrived, ok = at[0], true
		}
	}
	return arrived, ok
}

// newest is the version that the last line of a series tells of, if its tick is
// not before a moment.
func (a *arrivals) newest(series string, since time.Time) (version string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := since.Unix()
	for second, said := range a.said[series] {
		if second > last {
			last, version = second, said
		}
	}
	return version
}

// hasSaid reports whether a line of a series ever told of a version.
func (a *arrivals) hasSaid(series, version string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, said := range a.said[series] {
		if said == version {
			return true
		}
	}
	return false
}

// ticks counts the seconds of a series between its first and its last, and
// those of its ticks that are missing, or came twice.
func (a *arrivals) ticks(series string) (expected int, missing, twice []int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first, last := int64(1<<62), int64(0)
	for second, at := range a.series[series] {
		first, last = min(first, second), max(last, second)
		if len(at) > 1 {
			twice = append(twice, second)
		}
	}
	for second := first; second <= last; second += every {
		expected++
		if a.series[series][second] == nil {
			missing = append(missing, second)
		}
	}
	return expected, missing, twice
}

// site is an agent with plugins that are at fault, some that are not, and what
// arrives from all of them.
type site struct {
	*machine
	sink    *arrivals
	agent   *process
	config  string
	plugins string
	control *http.Client
	faulty  []*suspect
}

// suspect is a plugin that does wrong when told to.
type suspect struct {
	*site
	name, dir string
	told      int
}

// innocent are the series of inputs that must not miss a tick.
var innocent = []string{"cpu", "mem", "dice", "python"}

// newSite makes an agent whose inputs are the innocent ones and one of each
// faulty plugin named.
func newSite(t *testing.T, options string, faulty ...string) *site {
	t.Helper()
	s := &site{machine: newMachine(t), sink: newArrivals(t)}
	s.plugins = s.buildPlugin("faulty", "./tests/faulty")
	s.buildPlugin("dice", "./plugins/examples/dice")
	s.installPython(s.plugins)
	node := fmt.Sprintf(`
[agent]
  interval = "%ds"
  flush_interval = "1s"
  hostname = "n1"
  buffer_directory = "$DIR/buffer"
  plugin_directory = ["$DIR/plugins"]
  plugin_memory_max = "256MiB"
  %s
[[outputs.influxdb]]
  urls = [%q]
  skip_database_creation = true
[[inputs.cpu]]
  percpu = false
[[inputs.mem]]
[[inputs.dice]]
[[inputs.pydice]]
`, every, options, s.sink.URL)
	for _, name := range faulty {
		f := &suspect{site: s, name: name, dir: filepath.Join(s.dir, "faulty", name)}
		for _, occasion := range []string{"start", "gather"} {
			if err := os.MkdirAll(filepath.Join(f.dir, occasion), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Link(filepath.Join(s.plugins, "vitals-plugin-faulty"), filepath.Join(s.plugins, "vitals-plugin-"+name)); err != nil {
			t.Fatal(err)
		}
		node += fmt.Sprintf("[[inputs.%s]]\n  [inputs.%s.plugin_env]\n    FAULTY = %q\n", name, name, f.dir)
		s.faulty = append(s.faulty, f)
	}
	s.config = s.file("node.toml", node)
	s.control = &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.runtime(), "agent.sock"))
		},
	}}
	return s
}

// addDeadDevice adds a built-in collector whose device never answers. It shares
// its process with others until that is found out.
func (s *site) addDeadDevice() {
	s.t.Helper()
	folder := filepath.Join(s.dir, "sys/devices/system/cpu/cpu0/cpufreq")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for _, name := range []string{"scaling_cur_freq", "scaling_min_freq", "scaling_max_freq"} {
		if err := syscall.Mkfifo(filepath.Join(folder, name), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	node, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.config = s.file("node.toml", string(node)+"[[inputs.linux_cpu]]\n  host_sys = \"$DIR/sys\"\n")
}

func requireIsolated(t *testing.T, log, input string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(text), `msg="the collector does not answer; it gets a process of its own" input=`+input) {
		t.Errorf("%s has kept the process that it shares: %v", input, err)
	}
}

func (s *site) runtime() string {
	for _, kv := range s.env {
		if dir, ok := strings.CutPrefix(kv, "RUNTIME_DIRECTORY="); ok {
			return dir
		}
	}
	return ""
}

func (s *site) run() {
	s.t.Helper()
	began := time.Now()
	s.agent = s.start("vitals-agent", "--config", s.config)
	eventually(s.t, 30*time.Second, func() string {
		for _, name := range s.names() {
			if _, ok := s.sink.after(name, began); !ok {
				return "no line of " + name
			}
		}
		return ""
	})
}

func (s *site) names() []string {
	names := slices.Clone(innocent)
	for _, f := range s.faulty {
		names = append(names, f.name)
	}
	return names
}

// retry has the agent start what it has left alone, or what waits.
func (f *suspect) retry() {
	body, err := json.Marshal(f.name)
	if err != nil {
		f.t.Error(err)
		return
	}
	resp, err := f.control.Post("http://agent/plugins/retry", "application/json", strings.NewReader(string(body)))
	if err != nil {
		f.t.Errorf("retry %s: %v", f.name, err)
		return
	}
	resp.Body.Close()
}

// tell has the plugin do something wrong at its next start or reading.
func (f *suspect) tell(occasion, word string) {
	f.told++
	path := filepath.Join(f.dir, occasion, fmt.Sprintf("%06d-%s", f.told, word))
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		f.t.Error(err)
	}
}

// deed is a line of what a plugin says it has done.
type deed struct {
	at   time.Time
	pid  int
	what string
}

func (f *suspect) deeds() (all []deed) {
	text, _ := os.ReadFile(filepath.Join(f.dir, "did"))
	for l := range strings.Lines(string(text)) {
		var nano int64
		var d deed
		if _, err := fmt.Sscan(l, &nano, &d.pid, &d.what); err == nil {
			d.at = time.Unix(0, nano)
			all = append(all, d)
		}
	}
	return all
}

// awaitDeed waits until the plugin has done what it was told last.
func (f *suspect) awaitDeed(n int, within time.Duration) (deed, bool) {
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		wrong := slices.DeleteFunc(f.deeds(), func(d deed) bool { return d.what == "start" || d.what == "twice" })
		if len(wrong) >= n {
			return wrong[n-1], true
		}
		if time.Now().After(deadline) {
			return deed{}, false
		}
	}
}

// awaitRecovery waits for the first line of a tick after a moment and returns
// how long it took to arrive. If asked to, it does not let the agent wait with
// starting the plugin again.
func (f *suspect) awaitRecovery(since time.Time, within time.Duration, retry bool) (time.Duration, bool) {
	for n := 1; time.Since(since) < within; n++ {
		if at, ok := f.sink.after(f.name, since); ok {
			return at.Sub(since), true
		}
		if pid := f.pid(); retry && n%20 == 0 && syscall.Kill(pid, 0) == syscall.ESRCH {
			f.retry()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, false
}

// pid is the plugin's process, or its last one.
func (f *suspect) pid() int {
	all := f.deeds()
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].pid
}

// fault is one kind of trouble, and its balance.
type fault struct {
	id       string
	what     string
	plugins  int
	occasion string
	words    []string
	retry    bool // do not wait out the delays between starts

	mu    sync.Mutex
	runs  map[string]int
	worst time.Duration
}

func (k *fault) book(word string, took time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.runs == nil {
		k.runs = map[string]int{}
	}
	k.runs[word]++
	k.worst = max(k.worst, took)
}

func (k *fault) total() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, runs := range k.runs {
		n += runs
	}
	return n
}

// fewest is how often a fault is made at least, however long that takes.
const fewest = 10

// torment makes one fault after the other with a plugin, until ctx ends and there
// are some, or there are enough.
func (f *suspect) torment(ctx context.Context, k *fault, random *rand.Rand, enough int) {
	for (ctx.Err() == nil || k.total() < fewest) && k.total() < enough {
		time.Sleep(time.Duration(random.IntN(1200)) * time.Millisecond)
		word := k.words[random.IntN(len(k.words))]
		f.tell(k.occasion, word)
		n := f.told
		if k.occasion == "start" {
			_ = syscall.Kill(f.pid(), syscall.SIGKILL)
		}
		d, ok := f.awaitDeed(n, patience)
		if !ok {
			f.t.Errorf("%s %s was told to %s and has not", k.id, f.name, word)
			return
		}
		took, ok := f.awaitRecovery(d.at, patience, k.retry)
		if !ok {
			f.t.Errorf("%s %s has not recovered from %s within %v", k.id, f.name, word, patience)
			return
		}
		k.book(word, took)
	}
}

// requireOneMiss shows that a tick without a line is found: the plugin was told
// to leave out one. As many more may be missing as are spared the others.
func (f *suspect) requireOneMiss(spare int) {
	f.t.Helper()
	d, ok := f.awaitDeed(1, 0)
	_, missing, twice := f.sink.ticks(f.name)
	found := slices.ContainsFunc(missing, func(s int64) bool { return s <= d.at.Unix() && d.at.Unix() <= s+every })
	if !ok || !found || len(missing) > 1+spare || len(twice) > 0 {
		f.t.Errorf("a tick was left out at %v; found missing are %v, twice %v", d.at, missing, twice)
	}
}

// usage is what a process holds.
type usage struct{ pss, peak, files, threads int64 }

func (u usage) String() string {
	return fmt.Sprintf("PSS %d MiB, peak %d MiB, %d files, %d threads", u.pss>>20, u.peak>>20, u.files, u.threads)
}

func usageOf(t *testing.T, pid int) (u usage) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	kib := func(file, key string) (n int64) {
		text, err := os.ReadFile(dir + file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "\n"+key+":")
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatalf("%s of %s: %v", key, file, err)
		}
		return n
	}
	u.pss, u.peak = kib("smaps_rollup", "Pss")<<10, kib("status", "VmHWM")<<10
	files, _ := os.ReadDir(dir + "fd")
	threads, _ := os.ReadDir(dir + "task")
	u.files, u.threads = int64(len(files)), int64(len(threads))
	return u
}

// leftovers are the processes whose environment names the machine's folder or
// sockets, besides the agent.
func (s *site) leftovers() (left []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		env, _ := os.ReadFile(path)
		if strings.Contains(string(env), s.dir+"/") || strings.Contains(string(env), s.runtime()+"/plugins-") {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			left = append(left, filepath.Dir(path)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return left
}

// requireNothingLeft fails if a process, a socket or a file of the agent's run
// is still there after within.
func (s *site) requireNothingLeft(within time.Duration) {
	s.t.Helper()
	eventually(s.t, within, func() string {
		if left := s.leftovers(); len(left) > 0 {
			return "processes: " + strings.Join(left, ", ")
		}
		if left := s.sockets(); len(left) > 0 {
			return fmt.Sprint("sockets: ", left)
		}
		return ""
	})
}

// sockets are the directories of sockets of agents that run, or have run.
func (s *site) sockets() []string {
	all, _ := filepath.Glob(filepath.Join(s.runtime(), "plugins-*"))
	return all
}

// requireEveryTick fails if a series misses more ticks than may be, or has one
// twice.
func (s *site) requireEveryTick(spare int, names ...string) (expected, gone int) {
	s.t.Helper()
	for _, name := range names {
		n, missing, twice := s.sink.ticks(name)
		if len(missing) > spare || len(twice) > 0 || n == 0 {
			s.t.Errorf("%s: of %d ticks %d are missing %v, %d came twice %v", name, n, len(missing), missing, len(twice), twice)
		}
		expected, gone = expected+n, gone+len(missing)
	}
	return expected, gone
}

func faultsOfPluginsCostOnlyThemselves(t *testing.T) {
	seed := faultSeed(t)
	faults := []*fault{
		{id: "P1", what: "process ends in a reading", plugins: 6, occasion: "gather", retry: true,
			words: []string{"exit", "silent", "panic", "kill"}},
		{id: "P2", what: "process hangs", plugins: 6, occasion: "gather", retry: true,
			words: []string{"freeze", "fifo", "hang", "freeze", "fifo", "hang", "loop", "overrun", "overrun"}},
		{id: "P3", what: "program does not start", plugins: 4, occasion: "start", retry: true,
			words: []string{"garbage", "late", "exit", "silent", "nowhere", "garbage", "late", "hang", "half", "toolate"}},
		{id: "P4", what: "answer or log nobody can use", plugins: 6, occasion: "gather", retry: true,
			words: []string{"huge", "long", "utf8", "nan", "newline", "series", "error", "print", "log"}},
		{id: "P5", what: "memory without bound, offspring", plugins: 3, occasion: "gather", retry: true,
			words: []string{"leak", "grandchild", "daemon"}},
	}
	names := []string{"control"}
	for _, k := range faults {
		for n := range k.plugins {
			names = append(names, fmt.Sprintf("%s_%d", strings.ToLower(k.id), n))
		}
	}
	s := newSite(t, "", names...)
	s.addDeadDevice()
	s.run()
	whole := usageOf(t, s.agent.cmd.Process.Pid) // with every plugin, as at the end
	ctx, cancel := context.WithTimeout(t.Context(), faultTime(t, 150*time.Second))
	defer cancel()
	var wg sync.WaitGroup
	control, next := s.faulty[0], s.faulty[1:]
	for i, k := range faults {
		for n := range k.plugins {
			random := rand.New(rand.NewPCG(seed, uint64(i)<<8|uint64(n)))
			f := next[0]
			next = next[1:]
			wg.Go(func() { f.torment(ctx, k, random, faultRuns(t)) })
		}
	}
	deadline, _ := ctx.Deadline()
	time.Sleep(time.Until(deadline) / 4)
	warm := usageOf(t, s.agent.cmd.Process.Pid)
	control.tell("gather", "skip")
	wg.Wait()
	time.Sleep(5 * time.Second)
	end := usageOf(t, s.agent.cmd.Process.Pid)
	s.agent.stop()

	// Plugins that loop have the niceness of others: where two processors are all
	// there is, it may be long before one of those has its turn.
	const spare = 1
	control.requireOneMiss(spare)
	requireIsolated(t, s.agent.log, "linux_cpu")
	expected, gone := s.requireEveryTick(spare, innocent...)
	for _, k := range faults {
		t.Logf("%s %-30s %4d runs, worst recovery %5.1fs  %v", k.id, k.what, k.total(), k.worst.Seconds(), k.runs)
		if k.total() < min(fewest, faultRuns(t)) {
			t.Errorf("%s: only %d runs", k.id, k.total())
		}
	}
	t.Logf("the others: %d ticks expected, %d missing", expected, gone)
	t.Logf("the agent: %v after a quarter of the time, %v at the end", warm, end)
	if end.pss > warm.pss+32<<20 || end.peak > 160<<20 || end.files > whole.files+30 || end.threads > warm.threads+20 {
		t.Errorf("the agent has grown from %v and %v to %v", whole, warm, end)
	}
	for _, f := range s.faulty {
		for _, d := range f.deeds() {
			if d.what == "twice" {
				t.Errorf("%s ran twice at once at %v", f.name, d.at)
			}
		}
	}
	for _, wrong := range s.sink.wrong {
		t.Error(wrong)
	}
	s.requireNothingLeft(5 * time.Second)
}

// nothingOutlivesAnAgentThatIsKilled kills the agent at any moment of its
// life. What it has started is gone at once; an agent that was killed before
// there was anybody to clear away after it leaves its empty directory to the
// next.
func nothingOutlivesAnAgentThatIsKilled(t *testing.T) {
	t.Parallel()
	seed := faultSeed(t)
	s := newSite(t, "", "plain", "parent", "founder")
	random := rand.New(rand.NewPCG(seed, 6))
	began := time.Now()
	s.run()
	life := max(2*time.Second, 2*time.Since(began)) // of an agent: it has its start behind it half of the time
	s.agent.kill()
	var worst time.Duration
	runs, left := 0, 0
	for end := time.Now().Add(faultTime(t, 60*time.Second)); (time.Now().Before(end) || runs < fewest) && runs < faultRuns(t); runs++ {
		s.faulty[1].tell("gather", "child")
		s.faulty[2].tell("gather", "faraway")
		agent := s.start("vitals-agent", "--config", s.config)
		time.Sleep(time.Duration(random.Int64N(int64(life))))
		frozen := s.freezeOne(agent.cmd.Process.Pid, random)
		agent.kill()
		killed := time.Now()
		eventually(t, 5*time.Second, func() string {
			if all := s.leftovers(); len(all) > 0 {
				return fmt.Sprintf("run %d, frozen before %s, processes: %s", runs, frozen, strings.Join(all, ", "))
			}
			return ""
		})
		worst = max(worst, time.Since(killed))
		if len(s.sockets()) > 0 {
			left++
		}
	}
	t.Logf("P6 agent killed %d times, all of its processes gone after %.2fs at most, and but for %d times its sockets", runs, worst.Seconds(), left)
	if left > runs/2 {
		t.Errorf("%d runs, sockets left after %d", runs, left)
	}
	s.run()
	if all := s.sockets(); len(all) != 1 {
		t.Errorf("sockets once another agent runs: %v", all)
	}
	s.agent.stop()
	s.requireNothingLeft(5 * time.Second)
}

// freezeOne stops one of the agent's plugin processes every other time.
func (s *site) freezeOne(agent int, random *rand.Rand) (cmdline string) {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", agent, agent))
	pids := strings.Fields(string(children))
	if len(pids) == 0 || random.IntN(2) == 0 {
		return "none"
	}
	pid, err := strconv.Atoi(pids[random.IntN(len(pids))])
	if err != nil {
		s.t.Fatal(err)
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	return fmt.Sprintf("%d %q", pid, text)
}

// oneCrashLoopInTwenty compares an agent with twenty plugins of which one
// keeps crashing with one whose twenty plugins are well.
func oneCrashLoopInTwenty(t *testing.T) {
	t.Parallel()
	var names []string
	for n := range 20 {
		names = append(names, fmt.Sprintf("p8_%d", n))
	}
	ill, well := newSite(t, "", names...), newSite(t, "", names...)
	looping := ill.faulty[7]
	ill.run()
	well.run()
	for range 100 {
		looping.tell("gather", "exit")
	}
	cpuIll, cpuWell, began := ill.cpu(), well.cpu(), time.Now()
	time.Sleep(faultTime(t, 120*time.Second))
	cpuIll, cpuWell = ill.cpu()-cpuIll, well.cpu()-cpuWell
	took := time.Since(began)
	usage := usageOf(t, ill.agent.cmd.Process.Pid)
	ill.agent.stop()
	well.agent.stop()

	names = slices.DeleteFunc(append(names, innocent...), func(name string) bool { return name == looping.name })
	expected, gone := ill.requireEveryTick(0, names...)
	crashes := looping.told - len(looping.queued("gather"))
	share := (cpuIll - cpuWell).Seconds() / took.Seconds() * 100
	t.Logf("P8 %d crashes in %.0fs; of %d ticks of the other %d %d are missing; CPU of agent and plugins %.2fs, without the crashes %.2fs: %.2f %% of a core; the agent: %v",
		crashes, took.Seconds(), expected, len(names), gone, cpuIll.Seconds(), cpuWell.Seconds(), share, usage)
	if crashes < 4 || crashes > 12 {
		t.Errorf("%d crashes", crashes)
	}
	if share > 5 {
		t.Errorf("a crash loop costs %.1f %% of a core", share)
	}
	ill.requireNothingLeft(5 * time.Second)
}

func (f *suspect) queued(occasion string) []os.DirEntry {
	files, err := os.ReadDir(filepath.Join(f.dir, occasion))
	if err != nil {
		f.t.Fatal(err)
	}
	return files
}

// cpu is the time that the agent, its plugins and those that have ended took.
func (s *site) cpu() (all time.Duration) {
	s.t.Helper()
	agent := strconv.Itoa(s.agent.cmd.Process.Pid)
	text, err := os.ReadFile("/proc/" + agent + "/stat")
	if err != nil {
		s.t.Fatal(err)
	}
	all = ticksOf(text, 11, 12, 13, 14) // its own and that of its dead children
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err == nil && strings.Fields(afterName(text))[1] == agent {
			all += ticksOf(text, 11, 12)
		}
	}
	return all
}

// afterName is what follows the name in a process's stat, which begins with
// its state and its parent.
func afterName(stat []byte) string {
	return string(stat[strings.LastIndexByte(string(stat), ')')+1:])
}

func ticksOf(stat []byte, fields ...int) (sum time.Duration) {
	all := strings.Fields(afterName(stat))
	for _, i := range fields {
		n, _ := strconv.Atoi(all[i])
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}
