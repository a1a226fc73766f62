package plugins

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"
)

// Batch is what a gather fills: points, each of which becomes one line. It
// takes care of everything that line protocol asks for: order of tags,
// escaping, the values that InfluxDB does not store. Its zero value is ready
// to use; it belongs to one goroutine.
type Batch struct {
	host     string
	log      *slog.Logger
	unit     time.Duration // of Now
	raw      []byte
	points   []*Point // kept from batch to batch, used ones first
	used     int
	failures []error
	problems []error
}

// Host is the name of the machine as the host tag has it.
func (b *Batch) Host() string { return b.host }

// Log is the logger of this instance; the host writes what it is given under
// the instance's name and at the level configured for it.
func (b *Batch) Log() *slog.Logger {
	if b.log == nil {
		return slog.Default()
	}
	return b.log
}

// Now is the time for what is read at this moment and does not say when it was,
// in the unit that the host is configured to count in. Points of a stream that
// shall not be stamped with the time of their flush are given it.
func (b *Batch) Now() time.Time {
	now := time.Now()
	if nano := now.UnixNano(); b.unit > 1 {
		return time.Unix(0, nano-nano%int64(b.unit))
	}
	return now
}

// Lines adds lines of line protocol as they are. The host checks each of them
// and drops those that are none; here nothing is changed but that the last one
// is ended. They come before the points.
func (b *Batch) Lines(raw []byte) {
	b.raw = append(b.raw, raw...)
	if n := len(raw); n > 0 && raw[n-1] != '\n' {
		b.raw = append(b.raw, '\n')
	}
}

// Fail says what went wrong. In Gather it is as good as returning the error;
// a Stream tells of it with its next flush and goes on, and counts as failing
// until a flush without one.
func (b *Batch) Fail(err error) {
	if err != nil && len(b.failures) < maxProblems {
		b.failures = append(b.failures, err)
	}
}

// Point begins a point. A point that is given no field leaves no line.
func (b *Batch) Point(measurement string) *Point {
	if b.used == len(b.points) {
		b.points = append(b.points, new(Point))
	}
	p := b.points[b.used]
	b.used++
	*p = Point{measurement: clean(measurement), tags: p.tags[:0], fields: p.fields[:0]}
	return p
}

// Bytes returns all lines and those of all points, each ended by a newline.
func (b *Batch) Bytes() []byte { return b.appendTo(nil) }

// Err tells which points and names could not be written and why; it is known
// once Bytes was called.
func (b *Batch) Err() error { return errors.Join(b.problems...) }

// Reset forgets all points, lines and failures.
func (b *Batch) Reset() {
	b.used = 0
	if b.raw = b.raw[:0]; cap(b.raw) > maxKept {
		b.raw = nil
	}
	b.failures = nil
	b.problems = nil
}

// join is everything that went wrong with a gather that returned err.
func (b *Batch) join(err error) error {
	return errors.Join(append(append(b.failures, err), b.problems...)...)
}

func (b *Batch) appendTo(dst []byte) []byte {
	b.problems = nil
	dst = append(dst, b.raw...)
	var e encoder
	for _, p := range b.points[:b.used] {
		var err error
		if dst, err = e.append(dst, p); err != nil && len(b.problems) < maxProblems {
			b.problems = append(b.problems, fmt.Errorf("measurement %q: %w", p.measurement, err))
		}
	}
	return dst
}

// maxKept bounds the buffer for lines that is kept from batch to batch.
const maxKept = 256 << 10

// maxProblems bounds what one batch has to say about itself.
const maxProblems = 5

// Point is one point while it is being filled. Tags and fields may come in any
// order; of two with the same key the later one counts.
type Point struct {
	measurement string
	tags        []tag
	fields      []field
	at          time.Time
}

type tag struct{ key, value string }

type field struct {
	key    string
	kind   kind
	number uint64 // float bits, integer or boolean
	text   string
}

type kind uint8

const (
	kindFloat kind = iota
	kindInt
	kindBool
	kindString
)

// Tag adds a tag; one with an empty key or value is left out.
func (p *Point) Tag(key, value string) *Point {
	p.tags = append(p.tags, tag{clean(key), clean(value)})
	return p
}

// Float adds a field; NaN and infinities, which InfluxDB does not know, are
// left out.
func (p *Point) Float(key string, value float64) *Point {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return p
	}
	return p.set(field{key: key, kind: kindFloat, number: math.Float64bits(value)})
}

// Int adds an integer field.
func (p *Point) Int(key string, value int64) *Point {
	return p.set(field{key: key, kind: kindInt, number: uint64(value)})
}

// Uint adds an integer field, clipped to the largest that InfluxDB 1.x takes.
func (p *Point) Uint(key string, value uint64) *Point {
	return p.set(field{key: key, kind: kindInt, number: min(value, math.MaxInt64)})
}

// Bool adds a boolean field.
func (p *Point) Bool(key string, value bool) *Point {
	f := field{key: key, kind: kindBool}
	if value {
		f.number = 1
	}
	return p.set(f)
}

// String adds a string field. Every text is allowed; bytes that are not UTF-8
// are replaced.
func (p *Point) String(key, value string) *Point {
	return p.set(field{key: key, kind: kindString, text: value})
}

// At gives the point a time of its own instead of the tick.
func (p *Point) At(t time.Time) *Point {
	p.at = t
	return p
}

func (p *Point) set(f field) *Point {
	f.key = clean(f.key)
	same := func(g field) bool { return g.key == f.key }
	if i := slices.IndexFunc(p.fields, same); i >= 0 {
		p.fields[i] = f
	} else {
		p.fields = append(p.fields, f)
	}
	return p
}
