package fleet

import (
	"cmp"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/rpicluster/vitals/relay/rate"
)

const (
	maxFacts     = 32
	maxFactBytes = 4 << 10 // of all facts of a node, and of its tags
	maxSensors   = 64
	recentSize   = 60
	maxClient    = 128 // bytes of what a client calls itself
)

// record is what is known of one node.
type record struct {
	first   time.Time // when it was first seen
	seen    time.Time
	address string
	client  string
	token   string
	rhythm  rhythm
	lines   int64
	rate    rate.Minute
	clock   clock
	peers   peers
	boots   boots
	retired bool
	told    told // what events have told of it

	rebooted time.Time // when it was last seen to start again
	uptimeAt time.Time // when its uptime was last read

	figures    [vitals]float64
	known      [vitals]bool
	heard      [vitals]time.Time // when each was read
	back       time.Time         // when it wrote again after it had been down
	sensors    map[string]reading
	disks      map[string]disk
	collectors map[string]collector
	facts      map[string]any
	tags       map[string]string
	rawTags    string // what tags was made of

	throttling      [len(throttles)]bool
	throttlingKnown bool
	throttlingAt    time.Time

	recent  [recentSize]float32 // of cpuPercent, a ring
	written int
	history [chiefs]series
}

// arrive notes that lines came in by a write.
func (r *record) arrive(w *Write, lines int, l limits) {
	at := w.Received
	if gap := at.Sub(r.seen); !r.seen.IsZero() {
		if gap > l.down(r.rhythm.interval()) {
			r.back = at
		}
		r.rhythm.note(gap, l)
	}
	if r.first.IsZero() || at.Before(r.first) {
		r.first = at
	}
	if !at.Before(r.seen) {
		r.seen = at
		r.retired = false
		r.client, r.token = cmp.Or(clip(w.Client, maxClient), r.client), cmp.Or(w.Token, r.token)
		r.address = cmp.Or(w.Address, r.address)
	}
	r.peers.note(w.Address, at)
	r.lines += int64(lines)
	r.rate.Add(at, lines)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// StaleAfter is how long a reading counts that is not followed by another, while
// the node writes other things: longer than a collector rests.
const StaleAfter = maxRhythm

// fresh reports whether a reading still counts. Those from before the node was
// down have their chance to be followed by others.
func (r *record) fresh(at time.Time) bool {
	if at.Before(r.back) {
		at = r.back
	}
	return r.seen.Sub(at) <= StaleAfter
}

// set notes a figure; an old one only fills a gap.
func (r *record) set(v vital, value float64, at time.Time, old bool) {
	if old && r.known[v] {
		return
	}
	r.figures[v], r.known[v], r.heard[v] = value, true, at
	if v == cpuPercent {
		r.recent[r.written%recentSize] = float32(value)
		r.written++
	}
}

// figure is a number that may not be known.
type figure struct {
	value float64
	known bool
}

func (f figure) pointer() *float64 {
	if !f.known {
		return nil
	}
	return &f.value
}

func (r *record) figure(v vital) figure {
	return figure{r.figures[v], r.known[v] && r.fresh(r.heard[v])}
}

// store is something that fills: which figures tell how far, and which facts
// tell its size if the lines do not.
type store struct {
	used, total, free, percent vital
	facts                      [4]string
}

var (
	ram  = store{ramUsed, ramTotal, ramAvailable, ramPercent, [4]string{"ram_total", "ram_total_bytes", "ram_bytes", "ram"}}
	swap = store{swapUsed, swapTotal, swapFree, swapPercent, [4]string{"swap_total", "swap_total_bytes", "swap_bytes", "swap"}}
)

// level is how full a store is. A node that sends only what is free has told
// its total once, among its facts; percent is 0 to 100.
func (r *record) level(s store) (used, total, percent figure) {
	used, total, percent = r.figure(s.used), r.figure(s.total), r.figure(s.percent)
	for _, name := range s.facts {
		if v, ok := number(r.facts[name]); ok && v > 0 && !total.known {
			total = figure{v, true}
		}
	}
	if free := r.figure(s.free); !used.known && total.known && free.known {
		used = figure{max(0, total.value-free.value), true}
	}
	if !percent.known && used.known && total.known {
		percent.known = true
		if total.value > 0 {
			percent.value = clamp(100*used.value/total.value, 0, 100)
		}
	}
	return used, total, percent
}

// cores is how many CPUs the node has, by its lines or its facts.
func (r *record) cores() figure {
	if n := r.figure(cpus); n.known {
		return n
	}
	n, ok := number(r.facts["cores"])
	return figure{n, ok}
}

// up is for how many seconds the machine had been up when it was last seen.
func (r *record) up() figure {
	if f := r.figure(uptime); f.known {
		return figure{f.value + max(0, r.seen.Sub(r.uptimeAt).Seconds()), true}
	}
	boot, ok := number(r.facts["boot_time"])
	seconds := float64(r.seen.Unix()) - boot
	return figure{seconds, ok && seconds >= 0}
}

// node is the record as others may see it.
func (r *record) node(name string, through lens) Node {
	now, interval := through.now, r.rhythm.interval()
	n := Node{
		Name: name, State: r.judge(through), New: now.Sub(r.first) < newFor && r.first.After(through.started),
		Conflict: r.conflict(now, interval), FirstSeen: r.first,
		LastSeen: r.seen, SecondsSinceSeen: max(0, now.Sub(r.seen).Seconds()), IntervalSeconds: interval.Seconds(),
		Address: r.address, Client: r.client, Outdated: outdated(r.client, through.version), Token: r.token,
		Lines: r.lines, LinesPerMinute: r.rate.PerMinute(now),
		ClockSkewSeconds: r.clock.skew(interval), UptimeSeconds: r.up().pointer(),
		CPUPercent: r.figure(cpuPercent).pointer(), CPUMHz: r.figure(cpuMHz).pointer(), Cores: r.cores().pointer(), Load1: r.figure(load1).pointer(),
		RAMAvailableBytes: r.figure(ramAvailable).pointer(), SwapFreeBytes: r.figure(swapFree).pointer(),
		Throttling: r.throttled(), Collectors: r.collectorList(interval),
		Facts: r.facts, Tags: r.tags, CPUHistory: r.cpuHistory(),
	}
	if !r.rebooted.IsZero() && now.Sub(r.rebooted) < rebootedFor {
		n.RebootedAt = r.rebooted
	}
	used, total, percent := r.level(ram)
	n.RAMUsedBytes, n.RAMTotalBytes, n.RAMPercent = used.pointer(), total.pointer(), percent.pointer()
	used, total, percent = r.level(swap)
	n.SwapUsedBytes, n.SwapTotalBytes, n.SwapPercent = used.pointer(), total.pointer(), percent.pointer()
	n.TemperatureSensor, n.TemperatureCelsius = r.temperature(interval)
	if path, d, ok := r.fullestDisk(interval); ok {
		n.DiskPath, n.DiskPercent, n.DiskUsedBytes, n.DiskTotalBytes = path, &d.percent, &d.used, &d.total
	}
	return n
}

// judge is what the node's silence means now.
func (r *record) judge(through lens) State {
	if r.retired {
		return Retired
	}
	return through.limits.state(through.now, r.seen, through.heard, r.rhythm.interval())
}

// outdated reports whether a client is our agent of an older version than ours.
func outdated(client, version string) bool {
	name, _, _ := strings.Cut(client, " ")
	agent, isOurs := strings.CutPrefix(name, "vitals-agent/")
	agent, version = semantic(agent), semantic(version)
	return isOurs && semver.IsValid(agent) && semver.IsValid(version) && semver.Compare(agent, version) < 0
}

func semantic(version string) string { return "v" + strings.TrimPrefix(version, "v") }

// throttled is what slows the node down now; nil if it does not tell.
func (r *record) throttled() (now []string) {
	if !r.throttlingKnown || !r.fresh(r.throttlingAt) {
		return nil
	}
	now = []string{}
	for i, is := range r.throttling {
		if is {
			now = append(now, throttles[i].text)
		}
	}
	return now
}

// resume takes for the last readings of the CPU what the history has of them, so
// that they do not begin anew with each start of the relay.
func (r *record) resume() {
	for _, b := range r.history[chiefCPU].blocks {
		for _, code := range b.codes {
			if code != 0 {
				r.recent[r.written%recentSize] = float32(decode(code))
				r.written++
			}
		}
	}
}

func (r *record) cpuHistory() []float32 {
	n := min(r.written, recentSize)
	if !r.figure(cpuPercent).known {
		n = 0
	}
	history := make([]float32, n)
	for i := range history {
		history[i] = r.recent[(r.written-n+i)%recentSize]
	}
	return history
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}

func clamp(v, low, high float64) float64 { return min(max(v, low), high) }
