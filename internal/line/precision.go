package line

import (
	"math"
	"time"
)

// Precision is the unit of the timestamps of a body.
type Precision uint8

// The precisions InfluxDB 1.x knows. Nanosecond is the zero value.
const (
	Nanosecond Precision = iota
	Microsecond
	Millisecond
	Second
	Minute
	Hour
)

// maxNano is the latest time InfluxDB stores; -maxNano is the earliest.
const maxNano = math.MaxInt64 - 1

// Duration returns the length of the unit.
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

// String returns "ns", "us", "ms", "s", "m" or "h".
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
	}
	return "ns"
}

// limit returns the largest timestamp of the precision, and the smallest but
// for its sign: the last that InfluxDB can turn into nanoseconds.
func (p Precision) limit() int64 { return maxNano / int64(p.Duration()) }
