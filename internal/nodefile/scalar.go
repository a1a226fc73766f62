package nodefile

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Duration is a span of time: "10s", "1h30m", "7d", or a number of seconds.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// UnmarshalTOML reads a string or a number of seconds.
func (d *Duration) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		return d.seconds(float64(v))
	case float64:
		return d.seconds(v)
	case string:
		return d.UnmarshalText([]byte(v))
	}
	return fmt.Errorf(`must be a duration such as "10s" or a number of seconds`)
}

func (d *Duration) seconds(s float64) error {
	if math.IsNaN(s) || math.Abs(s) > math.MaxInt64/float64(time.Second) {
		return fmt.Errorf("%v seconds is out of range", s)
	}
	*d = Duration(s * float64(time.Second))
	return nil
}

var days = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([0-9.]+)d`)
})

// UnmarshalText reads Go's notation, to which d for a day is added. Empty text
// is zero.
func (d *Duration) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == "" {
		*d = 0
		return nil
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return d.seconds(n)
	}
	rest, total := s, time.Duration(0)
	if m := days().FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil || n > 100_000 {
			return fmt.Errorf("%q is not a duration", s)
		}
		total, rest = time.Duration(n*24*float64(time.Hour)), s[len(m[0]):]
	}
	if rest != "" {
		n, err := time.ParseDuration(rest)
		if err != nil {
			return fmt.Errorf(`%q is not a duration; write it as "10s", "1h30m" or "7d"`, s)
		}
		total += n
	}
	*d = Duration(total)
	return nil
}

// Size is a number of bytes: 1024, "512KiB", "8MiB", "1GB".
type Size int64

// UnmarshalTOML reads a number of bytes or a string with a unit.
func (s *Size) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		*s = Size(v)
		return nil
	case string:
		return s.UnmarshalText([]byte(v))
	}
	return fmt.Errorf(`must be a size such as "8MiB" or a number of bytes`)
}

var size = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)$`)
})

// unitBytes holds the bytes of a unit, by its lower-case name.
var unitBytes = map[string]float64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// UnmarshalText reads a number with an optional unit: B, KB, MB, GB, TB are
// powers of 1000; KiB, MiB, GiB, TiB of 1024.
func (s *Size) UnmarshalText(text []byte) error {
	m := size().FindStringSubmatch(strings.TrimSpace(string(text)))
	if m == nil {
		return fmt.Errorf(`%q is not a size; write it as "8MiB" or "1GB"`, text)
	}
	unit, known := unitBytes[strings.ToLower(m[2])]
	if !known {
		return fmt.Errorf("%q has no known unit; the units are B, KB, MB, GB, TB, KiB, MiB, GiB and TiB", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n*unit >= math.MaxInt64 {
		return fmt.Errorf("%q is out of range", text)
	}
	*s = Size(n * unit)
	return nil
}
