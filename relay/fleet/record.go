package fleet

import (
	"maps"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// vital is an index into a record's figures.
type vital uint8

const (
	cpuPercent vital = iota
	cpuMHz
	ramUsed
	ramAvailable
	ramTotal
	ramPercent
	swapUsed
	swapFree
	swapTotal
	swapPercent
	vitals // how many there are
)

const (
	maxFacts    = 32
	maxFactText = 256
	maxSensors  = 64
	historySize = 60
)

// record is what is known of one node.
type record struct {
	seen    time.Time
	address string
	rhythm  rhythm
	lines   int64
	rate    rate

	figures [vitals]float64
	known   [vitals]bool
	sensors map[string]reading
	facts   map[string]any

	history [historySize]float32 // of cpuPercent, a ring
	written int
}

// arrive notes that lines came in by a write.
func (r *record) arrive(w Write, lines int, l limits) {
	at := w.Received
	if !r.seen.IsZero() {
		r.rhythm.note(at.Sub(r.seen), l)
	}
	if at.After(r.seen) {
		r.seen = at
	}
	if w.Address != "" {
		r.address = w.Address
	}
	r.lines += int64(lines)
	r.rate.add(at, lines)
}

// set notes a figure; an old one only fills a gap.
func (r *record) set(v vital, value float64, old bool) {
	if old && r.known[v] {
		return
	}
	r.figures[v], r.known[v] = value, true
	if v == cpuPercent {
		r.history[r.written%historySize] = float32(value)
		r.written++
	}
}

// apply reads the vitals out of a line that arrived at the given time. old
// says that newer lines of the node have been applied already.
func (r *record) apply(l line.Line, at time.Time, old bool) {
	switch string(l.Measurement) {
	case "cpu":
		r.applyCPU(l, at, old)
	case "mem":
		r.applyFields(l, memFields, old)
	case "swap":
		r.applyFields(l, swapFields, old)
	case "ram": // the cluster's older name
		r.applyFields(l, ramFields, old)
	case "temp":
		sensor, _ := l.Tag("sensor")
		for key, raw := range l.EachField() {
			if v, ok := line.Float(raw); ok && key == "temp" {
				r.warm(sensor, v, at, old)
			}
		}
	case "node_info":
		r.applyFacts(l, old)
	}
}

type fieldVital struct {
	field string
	vital vital
}

// The fields that hold vitals, by measurement. Tables, not maps: they are
// walked for each field of each line.
var (
	memFields = [...]fieldVital{
		{"used", ramUsed}, {"total", ramTotal}, {"available", ramAvailable}, {"used_percent", ramPercent},
	}
	ramFields  = [...]fieldVital{{"free", ramAvailable}, {"used", ramUsed}, {"total", ramTotal}, {"used_percent", ramPercent}}
	swapFields = [...]fieldVital{
		{"used", swapUsed}, {"total", swapTotal}, {"free", swapFree}, {"used_percent", swapPercent},
	}
)

func (r *record) applyFields(l line.Line, fields [4]fieldVital, old bool) {
	for key, raw := range l.EachField() {
		for _, f := range fields {
			if f.field != key {
				continue
			}
			if v, ok := line.Float(raw); ok {
				r.set(f.vital, v, old)
			}
		}
	}
}

// applyCPU reads Telegraf's line of all CPUs together, or the cluster's only
// one, which has no tag cpu.
func (r *record) applyCPU(l line.Line, at time.Time, old bool) {
	if cpu, ok := l.RawTag("cpu"); ok && string(cpu) != "cpu-total" {
		return
	}
	for key, raw := range l.EachField() {
		v, ok := line.Float(raw)
		if !ok {
			continue
		}
		switch key {
		case "usage_idle":
			r.set(cpuPercent, clamp(100-v, 0, 100), old)
		case "percentage":
			r.set(cpuPercent, clamp(v, 0, 100), old)
		case "frequency", "frequency_mhz":
			r.set(cpuMHz, v, old)
		case "temperature":
			r.warm("cpu", v, at, old)
		}
	}
}

func (r *record) applyFacts(l line.Line, old bool) {
	if old && r.facts != nil {
		return
	}
	facts := make(map[string]any, 16)
	for key, raw := range l.EachField() {
		if len(facts) >= maxFacts || len(key) > maxFactText {
			break
		}
		value := line.Value(raw)
		if text, ok := value.(string); ok && len(text) > maxFactText {
			value = text[:maxFactText]
		}
		facts[key] = value
	}
	r.facts = facts
}

// node is the record as others may see it.
func (r *record) node(name string, now, listeningSince time.Time, l limits) Node {
	interval := r.rhythm.interval()
	n := Node{
		Name: name, State: l.state(now, r.seen, listeningSince, interval),
		LastSeen: r.seen, SecondsSinceSeen: max(0, now.Sub(r.seen).Seconds()), IntervalSeconds: interval.Seconds(),
		Address: r.address, Lines: r.lines, LinesPerMinute: r.rate.perMinute(now),
		CPUPercent: r.get(cpuPercent), CPUMHz: r.get(cpuMHz),
		RAMUsedBytes: r.get(ramUsed), RAMAvailableBytes: r.get(ramAvailable), RAMTotalBytes: r.get(ramTotal), RAMPercent: r.get(ramPercent),
		SwapUsedBytes: r.get(swapUsed), SwapFreeBytes: r.get(swapFree), SwapTotalBytes: r.get(swapTotal), SwapPercent: r.get(swapPercent),
		Facts: maps.Clone(r.facts), CPUHistory: r.cpuHistory(),
	}
	n.TemperatureSensor, n.TemperatureCelsius = r.temperature(interval)
	n.derive()
	return n
}

func (r *record) get(v vital) *float64 {
	if !r.known[v] {
		return nil
	}
	value := r.figures[v]
	return &value
}

func (r *record) cpuHistory() []float32 {
	n := min(r.written, historySize)
	history := make([]float32, n)
	for i := range history {
		history[i] = r.history[(r.written-n+i)%historySize]
	}
	return history
}

// derive fills in what follows from the rest: a node that sends only what is
// free has told its total once, among its facts.
func (n *Node) derive() {
	fromFact := func(total **float64, facts ...string) {
		for _, name := range facts {
			if v, ok := number(n.Facts[name]); ok && *total == nil && v > 0 {
				*total = &v
			}
		}
	}
	fromFact(&n.RAMTotalBytes, "ram_total", "ram_total_bytes", "ram_bytes", "ram")
	fromFact(&n.SwapTotalBytes, "swap_total", "swap_total_bytes", "swap_bytes", "swap")
	complete(&n.RAMUsedBytes, &n.RAMPercent, n.RAMTotalBytes, n.RAMAvailableBytes)
	complete(&n.SwapUsedBytes, &n.SwapPercent, n.SwapTotalBytes, n.SwapFreeBytes)
}

// complete derives what is used from total and free, and percent from both.
func complete(used, percent **float64, total, free *float64) {
	if *used == nil && total != nil && free != nil {
		v := max(0, *total-*free)
		*used = &v
	}
	if *percent == nil && *used != nil && total != nil {
		v := 0.0
		if *total > 0 {
			v = clamp(100***used / *total, 0, 100)
		}
		*percent = &v
	}
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
