package fleet

import (
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// vital is an index into a record's figures.
type vital uint8

const (
	cpuPercent vital = iota
	cpuMHz
	cpus
	load1
	uptime
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

type fieldVital struct {
	field string
	vital vital
}

// The fields that hold vitals, by measurement. Tables, not maps: they are
// walked for each field of each line.
var (
	memFields = []fieldVital{
		{"used", ramUsed}, {"total", ramTotal}, {"available", ramAvailable}, {"used_percent", ramPercent},
	}
	ramFields  = []fieldVital{{"free", ramAvailable}, {"used", ramUsed}, {"total", ramTotal}, {"used_percent", ramPercent}}
	swapFields = []fieldVital{
		{"used", swapUsed}, {"total", swapTotal}, {"free", swapFree}, {"used_percent", swapPercent},
	}
	systemFields = []fieldVital{{"load1", load1}, {"n_cpus", cpus}}
)

// The measurements of the lines that relays write themselves, of nodes and under
// the name of their machine: by them no node has been heard.
const (
	AlertMeasurement       = "vitals_alert"
	SelfMeasurement        = "vitals_relay"
	DestinationMeasurement = "vitals_relay_destination"
)

func byRelay(measurement []byte) bool {
	switch string(measurement) {
	case AlertMeasurement, SelfMeasurement, DestinationMeasurement:
		return true
	}
	return false
}

// apply reads the vitals out of a line that arrived at the given time. old
// says that newer lines of the node have been applied already.
func (r *record) apply(l line.Line, at time.Time, old bool) {
	switch string(l.Measurement) {
	case "cpu":
		r.applyCPU(l, at, old)
	case "mem":
		r.applyFields(l, memFields, at, old)
		r.applyTags(l, old)
	case "swap":
		r.applyFields(l, swapFields, at, old)
	case "ram": // the cluster's older name
		r.applyFields(l, ramFields, at, old)
		r.applyTags(l, old)
	case "system":
		r.applyFields(l, systemFields, at, old)
		r.applyUptime(l, at, old)
		r.applyTags(l, old)
	case "temp":
		sensor, _ := l.Tag("sensor")
		for key, raw := range l.EachField() {
			if v, ok := line.Float(raw); ok && key == "temp" {
				r.warm(sensor, v, at, old)
			}
		}
	case "disk":
		r.applyDisk(l, at, old)
	case "raspberrypi":
		r.applyThrottling(l, at, old)
	case "internal_plugin":
		r.applyCollector(l, at, old)
	case "internal_gather":
		r.applyGather(l, at, old)
	case "node_info":
		r.applyFacts(l, old)
		r.applyTags(l, old)
	}
}

func (r *record) applyFields(l line.Line, fields []fieldVital, at time.Time, old bool) {
	for key, raw := range l.EachField() {
		for _, f := range fields {
			if f.field != key {
				continue
			}
			if v, ok := line.Float(raw); ok {
				r.set(f.vital, v, at, old)
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
			r.set(cpuPercent, clamp(100-v, 0, 100), at, old)
		case "percentage":
			r.set(cpuPercent, clamp(v, 0, 100), at, old)
		case "frequency", "frequency_mhz":
			r.set(cpuMHz, v, at, old)
		case "temperature":
			r.warm("cpu", v, at, old)
		}
	}
}

// applyUptime notes how long the machine has been up, and from that when it was
// started: whether again, or whether there are two of them.
func (r *record) applyUptime(l line.Line, at time.Time, old bool) {
	for key, raw := range l.EachField() {
		v, ok := line.Float(raw)
		if !ok || key != "uptime" || old {
			continue
		}
		stamp := r.clock.line
		if stamp == 0 {
			stamp = at.UnixNano()
		}
		if r.boots.note(stamp/int64(time.Second)-int64(v), at) && r.known[uptime] && v < r.figures[uptime] {
			r.rebooted = at.Add(-time.Duration(v) * time.Second)
		}
		r.set(uptime, v, at, old)
		r.uptimeAt = at
	}
}

// throttles are what a Raspberry Pi tells of its power and heat, as people say
// it.
var throttles = [...]struct{ field, text string }{
	{"under_voltage", "under-voltage"},
	{"frequency_capped", "frequency capped"},
	{"throttled", "throttled"},
	{"soft_temp_limit", "soft temperature limit"},
}

func (r *record) applyThrottling(l line.Line, at time.Time, old bool) {
	if old && r.throttlingKnown {
		return
	}
	for key, raw := range l.EachField() {
		for i, t := range throttles {
			if v, ok := line.Float(raw); ok && t.field == key {
				r.throttling[i], r.throttlingKnown, r.throttlingAt = v != 0, true, at
			}
		}
	}
}

// applyFacts reads what rarely changes. The map is never changed once it is
// made: it is shared with whoever has asked.
func (r *record) applyFacts(l line.Line, old bool) {
	if old && r.facts != nil {
		return
	}
	facts, size := make(map[string]any, 16), 0
	for key, raw := range l.EachField() {
		value := line.Value(raw)
		text, _ := value.(string)
		if size += len(key) + len(text); len(facts) >= maxFacts || size > maxFactBytes {
			break
		}
		facts[key] = value
	}
	r.noteBoot(facts)
	r.facts = facts
}

// noteBoot tells a restart of the machine from a clock that was set: only after
// a restart is the time of the boot later than the last lines before it.
func (r *record) noteBoot(facts map[string]any) {
	was, ok := number(r.facts["boot_time"])
	is, also := number(facts["boot_time"])
	if booted := time.Unix(int64(is), 0); ok && also && is > was+60 && booted.After(r.seen.Add(-r.rhythm.interval())) {
		r.rebooted = booted
	}
}

// applyTags keeps the tags that a node has on lines which need none of their
// own: people group nodes by them. Like the facts the map is never changed.
func (r *record) applyTags(l line.Line, old bool) {
	if old && r.tags != nil || string(l.Tags) == r.rawTags {
		return
	}
	if len(l.Tags) > maxFactBytes {
		return
	}
	tags := make(map[string]string, 4)
	for key, value := range l.EachTag() {
		if key != "host" && key != "node" && len(tags) < maxFacts {
			tags[key] = value
		}
	}
	r.rawTags, r.tags = string(l.Tags), tags
}
