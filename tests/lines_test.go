package tests

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

// point is a line as a reader of line protocol has it.
type point struct {
	name   string
	tags   map[string]string
	fields map[string]any
	time   time.Time
}

// parse reads whole lines; what is behind the last newline is still being
// written.
func parse(t *testing.T, text string) (all []point) {
	t.Helper()
	text = text[:strings.LastIndexByte(text, '\n')+1]
	for d := lineprotocol.NewDecoderWithBytes([]byte(text)); d.Next(); {
		name, err := d.Measurement()
		p := point{name: string(name), tags: map[string]string{}, fields: map[string]any{}}
		for err == nil {
			var key, value []byte
			if key, value, err = d.NextTag(); key == nil {
				break
			}
			p.tags[string(key)] = string(value)
		}
		for err == nil {
			var key []byte
			var value lineprotocol.Value
			if key, value, err = d.NextField(); key == nil {
				break
			}
			p.fields[string(key)] = value.Interface()
		}
		if err == nil {
			p.time, err = d.Time(lineprotocol.Nanosecond, time.Time{})
		}
		if err != nil {
			t.Fatalf("%v in\n%.2000s", err, text)
		}
		all = append(all, p)
	}
	return all
}

// points are the lines of one measurement.
func points(t *testing.T, text, measurement string) []point {
	t.Helper()
	return slices.DeleteFunc(parse(t, text), func(p point) bool { return p.name != measurement })
}

// reading is what was gathered in one second, by series. One series may have
// several lines with fields of their own; they are in the order of those.
type reading map[string][]map[string]any

func readings(t *testing.T, text string) map[int64]reading {
	t.Helper()
	all := map[int64]reading{}
	for _, p := range parse(t, text) {
		r := all[p.time.Unix()]
		if r == nil {
			r = reading{}
			all[p.time.Unix()] = r
		}
		r.add(p)
	}
	return all
}

func (r reading) add(p point) {
	series := p.name
	for _, key := range slices.Sorted(maps.Keys(p.tags)) {
		series += "," + key + "=" + p.tags[key]
	}
	r[series] = append(r[series], p.fields)
	slices.SortStableFunc(r[series], func(a, b map[string]any) int {
		return cmp.Compare(strings.Join(keys(a), ","), strings.Join(keys(b), ","))
	})
}

func keys(fields map[string]any) []string { return slices.Sorted(maps.Keys(fields)) }

// differences compares a reading of ours with one of Telegraf's, values with
// same.
func differences(ours, theirs reading, same func(key string, our, their any) bool) (all []string) {
	add := func(format string, a ...any) { all = append(all, fmt.Sprintf(format, a...)) }
	for series, lines := range ours {
		switch {
		case theirs[series] == nil:
			add("ours alone: %s %v", series, lines)
			continue
		case len(lines) != len(theirs[series]):
			add("%s has %d lines, Telegraf's %d", series, len(lines), len(theirs[series]))
			continue
		}
		for i, fields := range lines {
			for key, our := range fields {
				switch their := theirs[series][i][key]; {
				case their == nil && !maybe(key):
					add("%s has %s, Telegraf's not", series, key)
				case their == nil:
				case fmt.Sprintf("%T", our) != fmt.Sprintf("%T", their):
					add("%s: %s is %v, a %T, and not %v, a %T", series, key, our, our, their, their)
				case !same(key, our, their):
					add("%s: %s is %v, Telegraf's %v", series, key, our, their)
				}
			}
			for key, their := range theirs[series][i] {
				if fields[key] == nil && !maybe(key) {
					add("%s has no %s, which is %v", series, key, their)
				}
			}
		}
	}
	for series, lines := range theirs {
		if ours[series] == nil {
			add("Telegraf alone: %s %v", series, lines)
		}
	}
	slices.Sort(all)
	return all
}

// maybe are fields that are there if the disk did something since the reading
// before.
func maybe(key string) bool { return key == "io_await" || key == "io_svctm" }

// equal is for two looks at the same files. What depends on the time between
// two of them is left out.
func equal(key string, our, their any) bool {
	if a, ok := number(our); ok {
		b, _ := number(their)
		return key == "io_util" || math.Abs(a-b) <= math.Abs(b)*1e-9
	}
	return our == their
}

// alike is for two looks at the same machine, which is not still: that the
// values are of one kind and in one unit.
func alike(key string, our, their any) bool {
	if a, ok := number(our); ok {
		b, _ := number(their)
		fleeting := strings.HasPrefix(key, "usage_") || strings.HasPrefix(key, "avg") || strings.HasPrefix(key, "io_") ||
			slices.Contains([]string{"iops_in_progress", "running", "blocked", "zombies", "dirty", "write_back", "load1"}, key)
		return fleeting || math.Abs(a-b) <= 0.75*max(math.Abs(a), math.Abs(b))+3
	}
	return our == their || key == "uptime_format"
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	}
	return 0, false
}
