package plugins

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	f := func(options string, want ...OptionError) {
		t.Helper()
		if diff := cmp.Diff(want, Check(probeDescription(), []byte(options))); diff != "" {
			t.Errorf("%s:\n%s", options, diff)
		}
	}
	f("")
	f("mode = \"x\"\nvalue = 1\nratio = 2\nevery = \"5m\"\nnames = [\"a\"]\nsize = 3\nschema = \"cluster\"")
	f("valeu = 1", OptionError{"valeu", `unknown option; did you mean "value"?`})
	f("Value = 1", OptionError{"Value", `unknown option; did you mean "value"?`})
	f("xyz = 1", OptionError{"xyz", "unknown option; known are mode, value, ratio, every, names, size, schema"})
	f("value = \"1\"", OptionError{"value", `expected a whole number, not the string "1"`})
	f("value = 1.5", OptionError{"value", "expected a whole number, not 1.5"})
	f("mode = true", OptionError{"mode", "expected a string in quotes, not true"})
	f("names = \"a\"", OptionError{"names", `expected a list in brackets, not the string "a"`})
	f("[mode]\nx = 1", OptionError{"mode", "expected a string in quotes, not a table"})
	f("every = 10")
	f("every = true", OptionError{"every", `expected a duration such as "10s", not true`})
	f(`every = "soon"`, OptionError{"every", `expected a duration such as "10s", not the string "soon"`})
	f("every = true", OptionError{"every", `expected a duration such as "10s", not true`})
	f("size = -1", OptionError{"size", "expected a number that is not negative, not -1"})
	f("schema = \"old\"", OptionError{"schema", `expected "telegraf" or "cluster", not "old"`})
	f("value = -1", OptionError{"value", "must not be negative"})
	f("value = -1\nmode = 2\nnope = 3",
		OptionError{"mode", "expected a string in quotes, not 2"},
		OptionError{"nope", "unknown option; known are mode, value, ratio, every, names, size, schema"})
}

func TestCheckSyntax(t *testing.T) {
	errs := Check(probeDescription(), []byte("value = \n"))
	if len(errs) != 1 || errs[0].Option != "" || !strings.Contains(errs[0].Message, "line 1") {
		t.Errorf("%v", errs)
	}
}

// rich has options of every shape.
type rich struct {
	nothing
	Common
	Table  Table             `toml:"table"`
	Tables []Table           `toml:"tables"`
	Labels map[string]string `toml:"labels"`
	Any    map[string]any    `toml:"any"`
	When   time.Time         `toml:"when"`
	Skip   func()            `toml:"-"`
	hidden int
}

type Common struct {
	Path string `toml:"path"`
}

type Table struct {
	A int `toml:"a"`
}

type nothing struct{ Collector }

func TestCheckTables(t *testing.T) {
	d := Description{Name: "rich", New: func() Collector { return &rich{hidden: 1} }}
	f := func(options string, want ...OptionError) {
		t.Helper()
		if diff := cmp.Diff(want, Check(d, []byte(options))); diff != "" {
			t.Errorf("%s:\n%s", options, diff)
		}
	}
	f("path = \"x\"\nwhen = 2024-01-01T00:00:00Z\n[table]\na = 1\n[[tables]]\na = 2\n[labels]\nx = \"y\"\n[any]\n[any.deep]\nz = 1")
	f("[table]\nb = 1", OptionError{"table.b", "unknown option"})
	f("[nested]\nb = 1", OptionError{"nested", "unknown option; known are path, table, tables, labels, any, when"})
	f("hidden = 1", OptionError{"hidden", "unknown option; known are path, table, tables, labels, any, when"})
	f("[table]\na = \"x\"", OptionError{"table", `toml: line 2 (last key "table.a"): incompatible types: TOML value has type string; destination has type integer`})
}

type picky struct{ nothing }

func (picky) Validate() error {
	return errors.Join(OptionError{"a", "bad"}, errors.Join(OptionError{"b", "worse"}, errors.New("and so on")))
}

func TestValidateSeveral(t *testing.T) {
	d := Description{New: func() Collector { return &picky{} }}
	want := []OptionError{{"a", "bad"}, {"b", "worse"}, {"", "and so on"}}
	if diff := cmp.Diff(want, Check(d, nil)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]OptionError{{"x", "unknown option; this collector has none"}}, Check(d, []byte("x = 1"))); diff != "" {
		t.Error(diff)
	}
	if got := want[0].Error() + "|" + want[2].Error(); got != "a: bad|and so on" {
		t.Error(got)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"percpu", "totalcpu", "collect_cpu_time", "report_active"}
	for word, want := range map[string]string{
		"percpus": "percpu", "prcepu": "percpu", "PerCPU": "percpu", "total_cpu": "totalcpu",
		"collect_cpu_times": "collect_cpu_time", "interval": "", "x": "", "": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
	if got := nearest("a", nil); got != "" {
		t.Error(got)
	}
}

// FuzzCheck: no options, however broken, end the process.
func FuzzCheck(f *testing.F) {
	f.Add("value = 1")
	f.Add("[table.a]\nb = [1, {x = 1}]")
	f.Add("any = {a = 1}\n[[tables]]\n[tables.a]")
	f.Fuzz(func(t *testing.T, options string) {
		Check(probeDescription(), []byte(options))
		Check(Description{New: func() Collector { return &rich{} }}, []byte(options))
	})
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10": 10 * time.Second, "0.5": 500 * time.Millisecond, `"250ms"`: 250 * time.Millisecond, `"1d"`: 24 * time.Hour,
		`"1.5d12h"`: 48 * time.Hour, `""`: 0, `"1h30m"`: 90 * time.Minute, "-1": -time.Second,
	} {
		var o struct{ V any }
		if _, err := toml.Decode("v = "+text, &o); err != nil {
			t.Fatal(err)
		}
		if got, err := duration(o.V); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, raw := range []any{"d", "1dd", "ten", "9e99d", 1e300, true, "10"} {
		if got, err := duration(raw); err == nil {
			t.Errorf("%v was taken for %v", raw, got)
		}
	}
}
