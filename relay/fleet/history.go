package fleet

import (
	"fmt"
	"slices"
	"time"
)

const (
	historyStep = 10 * time.Second
	blockSteps  = 360 // an hour
	// blockBytes is what a block costs, all told.
	blockBytes = 2*blockSteps + 48
)

// chief is a vital that has a history.
type chief uint8

const (
	chiefCPU chief = iota
	chiefLoad
	chiefRAM
	chiefSwap
	chiefTemperature
	chiefDisk
	chiefs
)

// chiefNames are the chiefs' names in the API: those of Node's JSON.
var chiefNames = [chiefs]string{"cpu_percent", "load1", "ram_percent", "swap_percent", "temperature_celsius", "disk_percent"}

// block is an hour of one vital. A code of 0 is no reading; any other n is
// the value n/100 - 100, which spans what percentages, °C and loads may be.
type block struct {
	first int64 // number of the first step since the epoch
	codes [blockSteps]uint16
}

func encode(v float64) uint16 { return uint16(clamp((v+100)*100, 1, 65535)) }

func decode(code uint16) float64 { return float64(code)/100 - 100 }

// series is the history of one vital of one node: the mean of each step.
//
//	blocks  [ hour ][ hour ][ hour, growing ]
//	                            └ sum, count: the step that is not over
type series struct {
	blocks []*block // by time
	step   int64    // that sum and count belong to
	sum    float64
	count  int
}

// shelf bounds the blocks of all nodes together.
type shelf struct {
	keep   time.Duration // how long a history is
	max    int           // blocks
	blocks int           // in use
}

func stepOf(t time.Time) int64 { return t.UnixNano() / int64(historyStep) }

// add notes a reading.
func (s *series) add(at time.Time, v float64, on *shelf) {
	step := stepOf(at)
	if step != s.step {
		s.step, s.sum, s.count = step, 0, 0
	}
	s.sum += v
	s.count++
	if b := s.block(step, on); b != nil {
		b.codes[step-b.first] = encode(s.sum / float64(s.count))
	}
}

// block finds or makes the block of a step; nil if the step is too old, or no
// room is left for another block.
func (s *series) block(step int64, on *shelf) *block {
	for i := len(s.blocks) - 1; i >= 0; i-- {
		if b := s.blocks[i]; step >= b.first {
			if step < b.first+blockSteps {
				return b
			}
			break
		}
	}
	first := step - step%blockSteps
	if n := len(s.blocks); n > 0 && first < s.blocks[n-1].first {
		return nil // an hour that was not written when it was time
	}
	s.expire(step, on)
	var b *block
	switch {
	case on.blocks < on.max:
		on.blocks++
		b = new(block)
	case len(s.blocks) > 0: // its own oldest hour makes room
		b, s.blocks = s.blocks[0], s.blocks[1:]
		*b = block{}
	default:
		return nil
	}
	b.first = first
	s.blocks = append(s.blocks, b)
	return b
}

// expire gives up the hours that are over for longer than a history is.
func (s *series) expire(step int64, on *shelf) {
	oldest := step - int64(on.keep/historyStep)
	n := 0
	for n < len(s.blocks) && s.blocks[n].first+blockSteps <= oldest {
		n++
	}
	on.blocks -= n
	clear(s.blocks[:n])
	s.blocks = s.blocks[n:]
}

// cut drops the hours that have not begun.
func (s *series) cut(now time.Time, on *shelf) {
	n := len(s.blocks)
	for n > 0 && s.blocks[n-1].first > stepOf(now) {
		n--
	}
	on.blocks -= len(s.blocks) - n
	s.blocks = slices.Delete(s.blocks, n, len(s.blocks))
}

// History is one vital of one node over time.
type History struct {
	Node  string `json:"node"`
	Vital string `json:"vital"`
	// Start is the time of the first value, StepSeconds from one to the next.
	Start       time.Time `json:"start"`
	StepSeconds float64   `json:"step_seconds"`
	// Values are means of a step each, null where nothing was read.
	Values []*float64 `json:"values"`
}

// since returns the values from start up to now, that is, as many as there is
// time for.
func (s *series) since(start, now time.Time) []*float64 {
	first, last := stepOf(start), stepOf(now)
	values := make([]*float64, max(0, last-first+1))
	for _, b := range s.blocks {
		for step := max(first, b.first); step <= min(last, b.first+blockSteps-1); step++ {
			if code := b.codes[step-b.first]; code != 0 {
				v := decode(code)
				values[step-first] = &v
			}
		}
	}
	return values
}

// ErrNoVital says that a name is no vital with a history.
var ErrNoVital = fmt.Errorf("there is no history of this vital; there is of %v", chiefNames)

// History returns the last span of a node's vital, of at most what is kept.
func (v *View) History(name, vitalName string, span time.Duration) (History, error) {
	c := chief(0)
	for c < chiefs && chiefNames[c] != vitalName {
		c++
	}
	if c == chiefs {
		return History{}, ErrNoVital
	}
	now := v.config.Now()
	start := now.Add(-min(max(span, historyStep), v.shelf.keep)).Truncate(historyStep)
	v.mu.Lock()
	defer v.mu.Unlock()
	rec := v.named(name)
	if rec == nil {
		return History{}, ErrNoNode
	}
	return History{
		Node: name, Vital: vitalName, Start: start, StepSeconds: historyStep.Seconds(), Values: rec.history[c].since(start, now),
	}, nil
}

// remember adds the chief vitals to the history as they are after a write.
func (r *record) remember(at time.Time, touched touched, on *shelf) {
	add := func(c chief, f figure) {
		if f.known && touched[c] {
			r.history[c].add(at, f.value, on)
		}
	}
	interval := r.rhythm.interval()
	add(chiefCPU, r.figure(cpuPercent))
	add(chiefLoad, r.figure(load1))
	_, _, percent := r.level(ram)
	add(chiefRAM, percent)
	_, _, percent = r.level(swap)
	add(chiefSwap, percent)
	if touched[chiefTemperature] {
		if _, celsius := r.temperature(interval); celsius != nil {
			add(chiefTemperature, figure{*celsius, true})
		}
	}
	if touched[chiefDisk] {
		_, d, ok := r.fullestDisk(interval)
		add(chiefDisk, figure{d.percent, ok})
	}
}

// forget frees what the histories of a node hold.
func (r *record) forget(on *shelf) {
	for i := range r.history {
		on.blocks -= len(r.history[i].blocks)
		r.history[i].blocks = nil
	}
}

// touched tells which chief vitals a write has brought.
type touched [chiefs]bool

// note notes what a line brings, by its measurement.
func (t *touched) note(measurement []byte) {
	switch string(measurement) {
	case "cpu":
		t[chiefCPU], t[chiefTemperature] = true, true
	case "mem", "ram":
		t[chiefRAM] = true
	case "swap":
		t[chiefSwap] = true
	case "system":
		t[chiefLoad] = true
	case "temp":
		t[chiefTemperature] = true
	case "disk":
		t[chiefDisk] = true
	}
}
