package selection

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/internal/line"
)

func one(t testing.TB, text string) line.Line {
	t.Helper()
	l, _, err := line.Cut([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSelects(t *testing.T) {
	f := func(name string, o Options, text string, want bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			filter, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			if got := filter.Selects(one(t, text), &line.Text{}); got != want {
				t.Errorf("%+v of %s: %v", o, text, got)
			}
		})
	}
	type list = []string
	type table = map[string][]string
	const plain = `cpu,cpu=cpu0,host=a f=1`

	f("nothing is asked", Options{}, plain, true)
	f("empty lists ask for nothing", Options{NamePass: list{}, NameDrop: list{}, TagPass: table{}, TagDrop: table{}}, plain, true)
	f("separators alone ask for nothing", Options{NamePassSeparators: ".", NameDropSeparators: "."}, plain, true)
	f("fields and tags do not select", Options{FieldInclude: list{"x"}, TagExclude: list{"*"}}, plain, true)

	f("namepass", Options{NamePass: list{"cpu"}}, plain, true)
	f("namepass, another", Options{NamePass: list{"mem"}}, plain, false)
	f("namepass, one of several", Options{NamePass: list{"mem", "cpu"}}, plain, true)
	f("namepass is not a part of the name", Options{NamePass: list{"cp"}}, plain, false)
	f("namepass, case", Options{NamePass: list{"CPU"}}, plain, false)
	f("namepass, case of a glob", Options{NamePass: list{"C*"}}, plain, false)
	f("namepass, empty pattern", Options{NamePass: list{""}}, plain, false)
	f("namedrop", Options{NameDrop: list{"cpu"}}, plain, false)
	f("namedrop, another", Options{NameDrop: list{"mem"}}, plain, true)
	f("in namepass and not in namedrop", Options{NamePass: list{"c*"}, NameDrop: list{"mem"}}, plain, true)
	f("in namepass and in namedrop", Options{NamePass: list{"c*"}, NameDrop: list{"cpu"}}, plain, false)
	f("in neither", Options{NamePass: list{"mem"}, NameDrop: list{"swap"}}, plain, false)
	f("unescaped name", Options{NamePass: list{"my disk,x"}}, `my\ disk\,x f=1`, true)
	f("name as it is escaped", Options{NamePass: list{`my\ disk`}}, `my\ disk f=1`, false)
	f("unescaped name and glob", Options{NamePass: list{"my d?sk"}}, `my\ disk f=1`, true)

	f("*", Options{NamePass: list{"*"}}, plain, true)
	f("* at the end", Options{NamePass: list{"cp*"}}, plain, true)
	f("* at the front", Options{NamePass: list{"*pu"}}, plain, true)
	f("* in the middle", Options{NamePass: list{"c*u"}}, plain, true)
	f("* stands for nothing too", Options{NamePass: list{"cpu*"}}, plain, true)
	f("* crosses dots and slashes", Options{NamePass: list{"a*d"}}, `a.b/c.d f=1`, true)
	f("?", Options{NamePass: list{"cp?"}}, plain, true)
	f("? is one character", Options{NamePass: list{"cpu?"}}, plain, false)
	f("? is one character of several bytes", Options{NamePass: list{"*?n"}}, `grün f=1`, true)
	f("also between letters, where Telegraf's library finds none", Options{NamePass: list{"gr?n"}}, `grün f=1`, true)
	f("class", Options{NamePass: list{"[a-d]pu"}}, plain, true)
	f("class, another", Options{NamePass: list{"[abd]pu"}}, plain, false)
	f("class turned round", Options{NamePass: list{"[!x]pu"}}, plain, true)
	f("braces without wildcard are literal", Options{NamePass: list{"{cpu,mem}"}}, plain, false)
	f("braces without wildcard match themselves", Options{NamePass: list{"{cpu,mem}"}}, `{cpu\,mem} f=1`, true)
	f("braces beside a wildcard", Options{NamePass: list{"{cpu,mem}*"}}, plain, true)
	f("braces beside another pattern with a wildcard", Options{NamePass: list{"{cpu,mem}", "x*"}}, plain, true)
	f("backslash without wildcard is literal", Options{NamePass: list{`c\pu`}}, `c\pu f=1`, true)
	f("backslash beside a wildcard escapes", Options{NamePass: list{`c\*u*`}}, `c*u f=1`, true)
	f("backslash beside a wildcard escapes, cpu", Options{NamePass: list{`c\*u*`}}, plain, false)
	f("an exact name beside a glob", Options{NamePass: list{"x*", "cpu"}}, plain, true)

	f("* stops at a separator", Options{NamePass: list{"a.*"}, NamePassSeparators: "."}, `a.b.c f=1`, false)
	f("* between separators", Options{NamePass: list{"a.*.c"}, NamePassSeparators: "."}, `a.b.c f=1`, true)
	f("** crosses separators", Options{NamePass: list{"a.**"}, NamePassSeparators: "."}, `a.b.c f=1`, true)
	f("? is not a separator", Options{NamePass: list{"a?b"}, NamePassSeparators: "."}, `a.b f=1`, false)
	f("each rune separates", Options{NamePass: list{"a*c"}, NamePassSeparators: "./"}, `a/c f=1`, false)
	f("the runes are not one separator", Options{NamePass: list{"*a*"}, NamePassSeparators: "→."}, `x→a f=1`, false)
	f("braces with a separator are alternatives", Options{NamePass: list{"{cpu,mem}"}, NamePassSeparators: "."}, plain, true)
	f("separator of namepass is not namedrop's", Options{NameDrop: list{"a*"}, NamePassSeparators: "."}, `a.b f=1`, false)
	f("separator of namedrop", Options{NameDrop: list{"a*"}, NameDropSeparators: "."}, `a.b f=1`, true)

	f("tagpass", Options{TagPass: table{"cpu": {"cpu0"}}}, plain, true)
	f("tagpass, another value", Options{TagPass: table{"cpu": {"cpu1"}}}, plain, false)
	f("tagpass, one of several values", Options{TagPass: table{"cpu": {"cpu1", "cpu0"}}}, plain, true)
	f("tagpass, one of several keys", Options{TagPass: table{"cpu": {"cpu1"}, "host": {"a"}}}, plain, true)
	f("tagpass without the tag", Options{TagPass: table{"rack": {"*"}}}, plain, false)
	f("tagpass of a line without tags", Options{TagPass: table{"rack": {"*"}}}, `m f=1`, false)
	f("tagpass, glob", Options{TagPass: table{"cpu": {"cpu[0-3]"}}}, plain, true)
	f("tagpass, case of a key", Options{TagPass: table{"CPU": {"cpu0"}}}, plain, false)
	f("tagpass, a key is no pattern", Options{TagPass: table{"c*": {"*"}}}, plain, false)
	f("tagpass without patterns", Options{TagPass: table{"cpu": {}}}, plain, false)
	f("tagpass, unescaped", Options{TagPass: table{"my path": {"/a b=c,d"}}}, `m,my\ path=/a\ b\=c\,d f=1`, true)
	f("tagpass crosses slashes", Options{TagPass: table{"path": {"/*"}}}, `m,path=/a/b f=1`, true)
	f("tagdrop", Options{TagDrop: table{"cpu": {"cpu0"}}}, plain, false)
	f("tagdrop, one of several keys", Options{TagDrop: table{"cpu": {"x"}, "host": {"a*"}}}, plain, false)
	f("tagdrop, another value", Options{TagDrop: table{"cpu": {"cpu1"}}}, plain, true)
	f("tagdrop without the tag", Options{TagDrop: table{"rack": {"*"}}}, plain, true)
	f("tagdrop without patterns", Options{TagDrop: table{"cpu": {}}}, plain, true)
	f("in tagpass and not in tagdrop", Options{TagPass: table{"cpu": {"*"}}, TagDrop: table{"host": {"b"}}}, plain, true)
	f("in tagpass and in tagdrop", Options{TagPass: table{"cpu": {"*"}}, TagDrop: table{"host": {"a"}}}, plain, false)
	f("name and tag, both", Options{NamePass: list{"cpu"}, TagPass: table{"cpu": {"cpu0"}}}, plain, true)
	f("name and tag, name only", Options{NamePass: list{"cpu"}, TagPass: table{"cpu": {"x"}}}, plain, false)
	f("name and tag, tag only", Options{NamePass: list{"mem"}, TagPass: table{"cpu": {"cpu0"}}}, plain, false)
}

func TestKeeps(t *testing.T) {
	f := func(name string, include, exclude []string, key string, want bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			keeps := func(o Options, of func(*Filter) func(string) bool) bool {
				t.Helper()
				filter, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				keep := of(filter)
				return keep == nil || keep(key)
			}
			if got := keeps(Options{FieldInclude: include, FieldExclude: exclude}, (*Filter).KeepField); got != want {
				t.Errorf("field: %v", got)
			}
			if got := keeps(Options{TagInclude: include, TagExclude: exclude}, (*Filter).KeepTag); got != want {
				t.Errorf("tag: %v", got)
			}
			if !keeps(Options{FieldInclude: include, FieldExclude: exclude}, (*Filter).KeepTag) {
				t.Error("a filter of fields cuts tags")
			}
			if !keeps(Options{TagInclude: include, TagExclude: exclude}, (*Filter).KeepField) {
				t.Error("a filter of tags cuts fields")
			}
		})
	}
	type list = []string
	f("nothing is asked", nil, nil, "a", true)
	f("included", list{"a"}, nil, "a", true)
	f("not included", list{"b"}, nil, "a", false)
	f("included by a glob", list{"usage_*"}, nil, "usage_user", true)
	f("case", list{"Usage*"}, nil, "usage_user", false)
	f("excluded", nil, list{"a"}, "a", false)
	f("not excluded", nil, list{"b"}, "a", true)
	f("excluded by a glob", nil, list{"*_user"}, "usage_user", false)
	f("included and not excluded", list{"a*"}, list{"b"}, "a", true)
	f("included and excluded", list{"a*"}, list{"a"}, "a", false)
	f("in neither", list{"b"}, list{"c"}, "a", false)
	f("braces are literal", list{"{a,b}"}, nil, "a", false)
	f("dots do not separate", list{"a*"}, nil, "a.b", true)
}

func TestNotPatterns(t *testing.T) {
	f := func(option, pattern string, o Options) {
		t.Helper()
		t.Run(option, func(t *testing.T) {
			t.Helper()
			filter, err := New(o)
			bad, ok := errors.AsType[*Error](err)
			if !ok || filter != nil || bad.Option != option || bad.Pattern != pattern || bad.Err == nil {
				t.Fatalf("%v, %v", filter, err)
			}
			if !strings.Contains(err.Error(), option) || !strings.Contains(err.Error(), pattern) {
				t.Error(err)
			}
		})
	}
	bad := []string{"good*", "x["}
	f("namepass", "x[", Options{NamePass: bad})
	f("namedrop", "x[", Options{NameDrop: bad})
	f("tagpass.cpu", "x[", Options{TagPass: map[string][]string{"a": {"b*"}, "cpu": bad}})
	f("tagdrop.cpu", "x[", Options{TagDrop: map[string][]string{"cpu": bad}})
	f("fieldinclude", "x[", Options{FieldInclude: bad})
	f("fieldexclude", "x[", Options{FieldExclude: bad})
	f("taginclude", "x[", Options{TagInclude: bad})
	f("tagexclude", "x[", Options{TagExclude: bad})
	if _, err := New(Options{NamePass: []string{"{", `\`}}); err != nil {
		t.Errorf("exact names: %v", err)
	}
}

// A reload leaves alone what is configured as before.
func TestSameOptionsMakeTheSameFilter(t *testing.T) {
	options := func() Options {
		return Options{
			NamePass: []string{"c*", "{a,b}*.[x-z]?", "plain"}, NameDropSeparators: "./", NameDrop: []string{"a*b**"},
			TagPass: map[string][]string{"a": {"*x*", "y"}, "b": {"z"}}, TagExclude: []string{"h"}, FieldInclude: []string{"a?"},
		}
	}
	a, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) || !a.Equal(b) {
		t.Error("they differ")
	}
	other := options()
	other.TagPass["b"] = nil
	c, err := New(other)
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(a, c) || a.Equal(c) || a.Equal(nil) || (*Filter)(nil).Equal(a) {
		t.Error("they do not differ")
	}
	if !(*Filter)(nil).Equal(nil) || !reflect.DeepEqual(a.Options(), options()) {
		t.Error("options")
	}
}

// FuzzFilter: no pattern and no text brings the filters down, a line that is
// asked about twice gets the same answer, and what is in drop as well as in
// pass is never selected.
func FuzzFilter(f *testing.F) {
	f.Fuzz(func(t *testing.T, pattern, other, separators, text string) {
		pass, err := New(Options{NamePass: []string{pattern, other}, NamePassSeparators: separators, TagExclude: []string{pattern}, TagPass: map[string][]string{other: {pattern}}})
		if err != nil {
			if bad, ok := errors.AsType[*Error](err); !ok || bad.Pattern != pattern && bad.Pattern != other {
				t.Errorf("%v", err)
			}
			return
		}
		both, err := New(Options{NamePass: []string{pattern, other}, NamePassSeparators: separators, NameDrop: []string{pattern, other}, NameDropSeparators: separators})
		if err != nil {
			t.Fatal(err)
		}
		l, _, err := line.Cut([]byte(text))
		if err != nil {
			return
		}
		scratch := &line.Text{}
		if both.Selects(l, scratch) {
			t.Errorf("%q is selected, though it is dropped", text)
		}
		if pass.Selects(l, scratch) != pass.Selects(l, scratch) {
			t.Errorf("%q: two answers", text)
		}
		if keep := pass.KeepTag(); !strings.ContainsAny(pattern, "*?[") && keep(l.Name()) != (l.Name() != pattern) {
			t.Errorf("%q is an exact key; %q is told from it wrongly", pattern, l.Name())
		}
		if wild := strings.ContainsAny(pattern+other, "*?["); !wild && separators == "" {
			v, ok := l.Tag(other)
			want := (l.Name() == pattern || l.Name() == other) && ok && v == pattern
			if got := pass.Selects(l, scratch); got != want {
				t.Errorf("%q: %v, want %v", text, got, want)
			}
		}
	})
}

func BenchmarkSelects(b *testing.B) {
	l := one(b, "cpu,cpu=cpu-total,host=node17,rack=a usage_user=12.3,usage_system=4.5,usage_idle=83.2,usage_nice=0 1700000000000000000")
	f := func(name string, o Options) {
		b.Run(name, func(b *testing.B) {
			filter, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			var text line.Text
			b.ReportAllocs()
			for b.Loop() {
				if !filter.Selects(l, &text) {
					b.Fatal("not selected")
				}
			}
		})
	}
	f("no filter", Options{})
	f("namepass exact", Options{NamePass: []string{"mem", "cpu", "swap"}})
	f("namepass globs", Options{NamePass: []string{"mem*", "d?sk*", "c*u"}})
	f("tagpass exact", Options{TagPass: map[string][]string{"cpu": {"cpu-total"}}})
	f("tagdrop globs", Options{TagDrop: map[string][]string{"cpu": {"cpu[0-9]*"}, "rack": {"b*"}}})
}

func BenchmarkEdit(b *testing.B) {
	l := one(b, "cpu,cpu=cpu-total,host=node17,rack=a usage_user=12.3,usage_system=4.5,usage_idle=83.2,usage_nice=0 1700000000000000000")
	f := func(name string, o Options) {
		b.Run(name, func(b *testing.B) {
			filter, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			edit := line.Edit{KeepTag: filter.KeepTag(), KeepField: filter.KeepField()}
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = edit.Append(dst[:0], l)
			}
		})
	}
	f("no filter", Options{})
	f("tagexclude", Options{TagExclude: []string{"host"}})
	f("fieldinclude globs", Options{FieldInclude: []string{"usage_[iu]*"}})
}

func TestNothingIsAllocated(t *testing.T) {
	f := func(name string, o Options, text string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			filter, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			l := one(t, text)
			var scratch line.Text
			edit := line.Edit{KeepTag: filter.KeepTag(), KeepField: filter.KeepField()}
			dst := edit.Append(nil, l)
			if n := testing.AllocsPerRun(20, func() {
				filter.Selects(l, &scratch)
				dst = edit.Append(dst[:0], l)
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
	const plain, escaped = "cpu,cpu=cpu0,host=a usage_user=1,usage_idle=2 17", `my\ cpu,cpu=cpu\ 0,host=a usage_user=1,usage\ idle=2 17`
	globs := Options{
		NamePass: []string{"m*", "c?u", "x*"}, TagPass: map[string][]string{"cpu": {"cpu[0-9]", "*x*"}},
		FieldInclude: []string{"usage*"}, TagExclude: []string{"host"},
	}
	f("no filter", Options{}, plain)
	f("exact", Options{NamePass: []string{"cpu"}, TagDrop: map[string][]string{"cpu": {"x"}}, TagExclude: []string{"host"}}, plain)
	if !poolsForget {
		f("globs", globs, plain)
		f("escaped", globs, escaped)
	}
}
