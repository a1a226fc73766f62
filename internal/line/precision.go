package line

import (
	"math"
	"time"
)

// Precision is the unit of the timestamps of a body.
type Precision uint8

// The precisions InfluxDB 1.x knows, and InfluxDB 3's Auto, which guesses the
// unit of each timestamp. Nanosecond is the zero value.
const (
	Nanosecond Precision = iota
	Microsecond
	Millisecond
	Second
	Minute
	Hour
	Auto
)

// maxNano is the latest time InfluxDB stores; -maxNano is the earliest.
const maxNano = math.MaxInt64 - 1

// Duration returns the length of the unit; of Auto's it is a nanosecond.
func (p Precision) Duration() time.Duration {
	switch p {
	case Microsecond:
		return time.Microsecond
	case Millisecond:
		return time.Millisecond
	case Second:
		return time.Second
	case Minute:
		return time.Minute
	case Hour:
		return time.Hour
	}
	return time.Nanosecond
}

// String returns "ns", "us", "ms", "s", "m", "h" or "auto".
func (p Precision) String() string {
	switch p {
	case Microsecond:
		return "us"
	case Millisecond:
		return "ms"
	case Second:
		return "s"
	case Minute:
		return "m"
	case Hour:
		return "h"
	case Auto:
		return "auto"
	}
	return "ns"
}

// limit returns the largest timestamp of the precision, and the smallest but
// for its sign: the last that InfluxDB can turn into nanoseconds.
func (p Precision) limit() int64 { return maxNano / int64(p.Duration()) }

// guess returns the unit that InfluxDB 3 takes a timestamp to be counted in: the
// one in which it lies between 1970 and about 2128.
func guess(t int64) Precision {
	if t < 0 {
		t = -t
	}
	switch {
	case t < 5e9:
		return Second
	case t < 5e12:
		return Millisecond
	case t < 5e15:
		return Microsecond
	}
	return Nanosecond
}
