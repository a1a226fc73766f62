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

// differences compares a reading of ours with Telegraf's of the same second,
// and its values with those before and after too.
func differences(ours, before, theirs, after reading) (all []string) {
	add := func(format string, a ...any) { all = append(all, fmt.Sprintf(format, a...)) }
	for series := range ours {
		if theirs[series] == nil {
			add("ours alone: %s %v", series, ours[series])
		}
	}
	for series, lines := range theirs {
		if ours[series] == nil {
			add("Telegraf alone: %s %v", series, lines)
			continue
		}
		if len(lines) != len(ours[series]) {
			add("%s has %d lines, Telegraf's %d", series, len(ours[series]), len(lines))
			continue
		}
		for i, fields := range lines {
			for _, key := range keys(fields) {
				our, their := ours[series][i][key], fields[key]
				switch {
				case our == nil && maybe(key):
				case our == nil:
					add("%s has no %s, which is %v", series, key, their)
				case fmt.Sprintf("%T", our) != fmt.Sprintf("%T", their):
					add("%s: %s is %v, a %T, and not %v, a %T", series, key, our, our, their, their)
				case !near(our, their, value(before, series, i, key), value(after, series, i, key)) && !volatile(series, key):
					add("%s: %s is %v, Telegraf's %v", series, key, our, their)
				}
			}
			for _, key := range keys(ours[series][i]) {
				if fields[key] == nil && !maybe(key) {
					add("%s has %s, Telegraf's not", series, key)
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

func value(r reading, series string, i int, key string) any {
	if i >= len(r[series]) {
		return nil
	}
	return r[series][i][key]
}

// maybe are fields that are there if the disk did something since the reading
// before.
func maybe(key string) bool { return key == "io_await" || key == "io_svctm" }

// volatile are fields that are another at every look.
func volatile(series, key string) bool {
	for _, prefix := range []string{"usage_", "avg", "io_", "iops_in_progress"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return strings.HasPrefix(series, "processes")
}

// near reports whether a value lies about where Telegraf's do.
func near(our any, theirs ...any) bool {
	number := func(v any) (float64, bool) {
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
	n, ok := number(our)
	if !ok {
		return slices.Contains(theirs, our)
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, their := range theirs {
		if f, ok := number(their); ok {
			low, high = min(low, f), max(high, f)
		}
	}
	slack := max(math.Abs(high)/20, 3)
	return n >= low-slack && n <= high+slack
}
