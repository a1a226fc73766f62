package collect

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/selection"
)

func selecting(t *testing.T, o selection.Options) *selection.Filter {
	t.Helper()
	f, err := selection.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFiltersOfAnInput(t *testing.T) {
	global := map[string]string{"host": "n1", "site": "attic"}
	f := func(name string, o selection.Options, in config.Input, reply, want string, filtered int64) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			in.Filter = selecting(t, o)
			var sent bytes.Buffer
			var lines int
			sink := func(_ context.Context, body []byte, n int) { sent.Write(body); lines += n }
			r := newRefiner(in, global, sink, slog.New(slog.DiscardHandler))
			n, bad := r.pass(t.Context(), []byte(reply), 17)
			if diff := cmp.Diff(want, sent.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := r.filtered.Load(); got != filtered || n != lines || n != bytes.Count(sent.Bytes(), []byte("\n")) || bad != 0 {
				t.Errorf("%d filtered, %d passed, %d sent, %d bad", got, n, lines, bad)
			}
		})
	}
	type list = []string
	type table = map[string][]string
	tags := config.Input{Tags: map[string]string{"rack": "a"}}
	local, globals := tags, tags
	local.AlwaysLocalTags, globals.AlwaysGlobalTags = true, true
	renamed := config.Input{NameOverride: "mm", Prefix: "p_", Suffix: "_s"}

	f("none", selection.Options{}, tags, "m f=1\n", "m,host=n1,rack=a,site=attic f=1 17\n", 0)
	f("one of two lines", selection.Options{NamePass: list{"m"}}, config.Input{}, "x f=1\nm f=1\n", "m,host=n1,site=attic f=1 17\n", 1)
	f("all lines", selection.Options{NameDrop: list{"*"}}, config.Input{}, "x f=1\nm f=1\n", "", 2)
	f("the name is the collector's", selection.Options{NamePass: list{"m"}}, renamed, "m f=1\n", "p_mm_s,host=n1,site=attic f=1 17\n", 0)
	f("not the new one", selection.Options{NamePass: list{"p_mm_s"}}, renamed, "m f=1\n", "", 1)
	f("the tags are the collector's", selection.Options{TagPass: table{"cpu": {"0"}}}, tags, "m,cpu=0 f=1\nm,cpu=1 f=1\n", "m,cpu=0,host=n1,rack=a,site=attic f=1 17\n", 1)
	f("not the input's", selection.Options{TagPass: table{"rack": {"a"}}}, tags, "m f=1\n", "", 1)
	f("nor the global ones", selection.Options{TagDrop: table{"host": {"*"}}}, tags, "m f=1\n", "m,host=n1,rack=a,site=attic f=1 17\n", 0)
	f("a collector's tag comes first", selection.Options{}, tags, "m,rack=x f=1\n", "m,host=n1,rack=x,site=attic f=1 17\n", 0)
	f("an input's tag comes before a global one", selection.Options{}, config.Input{Tags: map[string]string{"site": "cellar"}}, "m f=1\n", "m,host=n1,site=cellar f=1 17\n", 0)
	f("an empty tag keeps a global one off", selection.Options{}, config.Input{Tags: map[string]string{"site": ""}}, "m f=1\n", "m,host=n1 f=1 17\n", 0)
	f("fields", selection.Options{FieldInclude: list{"f*"}, FieldExclude: list{"f2"}}, config.Input{}, "m f1=1,f2=2,g=3\n", "m,host=n1,site=attic f1=1 17\n", 0)
	f("no field is left", selection.Options{FieldExclude: list{"f"}}, config.Input{}, "m f=1\nm f=2,g=3\n", "m,host=n1,site=attic g=3 17\n", 1)
	f("tags of all three kinds are cut", selection.Options{TagInclude: list{"site"}}, tags, "m,cpu=0 f=1\n", "m,site=attic f=1 17\n", 0)
	f("the host is cut", selection.Options{TagExclude: list{"host"}}, tags, "m,cpu=0 f=1\n", "m,cpu=0,rack=a,site=attic f=1 17\n", 0)
	f("the collector's own tag of a key that the input has", selection.Options{TagExclude: list{"rack"}}, tags, "m,rack=x f=1\n", "m,host=n1,site=attic f=1 17\n", 0)
	f("local tags always", selection.Options{TagInclude: list{"cpu"}}, local, "m,cpu=0 f=1\n", "m,cpu=0,rack=a f=1 17\n", 0)
	f("local tags always, with the input's value", selection.Options{TagExclude: list{"rack"}}, local, "m,rack=x f=1\n", "m,host=n1,rack=a,site=attic f=1 17\n", 0)
	f("local tags always, but the collector's stays", selection.Options{TagInclude: list{"rack"}}, local, "m,rack=x f=1\n", "m,rack=x f=1 17\n", 0)
	f("global tags always", selection.Options{TagInclude: list{"cpu"}}, globals, "m,cpu=0 f=1\n", "m,cpu=0,host=n1,site=attic f=1 17\n", 0)
	f("global tags always, where the input's was cut", selection.Options{TagExclude: list{"site"}},
		config.Input{Tags: map[string]string{"site": "cellar"}, AlwaysGlobalTags: true}, "m f=1\n", "m,host=n1,site=attic f=1 17\n", 0)
	f("both always, the input's first", selection.Options{TagExclude: list{"site"}},
		config.Input{Tags: map[string]string{"site": "cellar"}, AlwaysLocalTags: true, AlwaysGlobalTags: true}, "m f=1\n", "m,host=n1,site=cellar f=1 17\n", 0)
	f("always, though no filter asks", selection.Options{}, local, "m,rack=x f=1\n", "m,host=n1,rack=x,site=attic f=1 17\n", 0)
	f("everything else is the same bytes", selection.Options{FieldExclude: list{"x"}, TagExclude: list{"x"}, NamePass: list{"m *"}}, config.Input{},
		`m\ 1,x=1,b\ =\,c z="a, \"b\"\\ c",x=1,a=1.50,i=-0i 5`+"\n", `m\ 1,b\ =\,c,host=n1,site=attic z="a, \"b\"\\ c",a=1.50,i=-0i 5`+"\n", 0)
}

// A line that the filters keep back is none that the bounds count.
func TestFiltersComeBeforeBounds(t *testing.T) {
	in := config.Input{MaxSeries: 1, Filter: selecting(t, selection.Options{NamePass: []string{"m"}})}
	lines, bad, _ := pass(t, in, 0, "x,a=1 v=1\nx,a=2 v=1\nm v=1\n")
	if unstamped(lines) != "m v=1\n" || bad != 0 {
		t.Errorf("%q, %d bad", lines, bad)
	}
}

// A reload that changes the global tags asks the filters again.
func TestFiltersOfNewGlobalTags(t *testing.T) {
	var sent bytes.Buffer
	r := newRefiner(config.Input{Filter: selecting(t, selection.Options{TagExclude: []string{"secret*"}})}, nil,
		func(_ context.Context, body []byte, _ int) { sent.Write(body) }, slog.New(slog.DiscardHandler))
	r.setGlobal(map[string]string{"secret_key": "x", "room": "r"})
	r.pass(t.Context(), []byte("m f=1\n"), 17)
	if want := "m,room=r f=1 17\n"; sent.String() != want {
		t.Errorf("%q, want %q", sent.String(), want)
	}
}

func TestFilteredLinesAreInTheStatus(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", func(in *config.Input) {
		in.Filter = selecting(t, selection.Options{NameDrop: []string{"*"}})
	})
	l.start()
	l.until("lines are filtered", func() bool { return l.status("a").Filtered >= 2 })
	if s := l.status("a"); s.Gathered != 0 || s.State != StateOK || len(l.of("a")) > 0 {
		t.Errorf("%+v", s)
	}
}

// BenchmarkRefine is the whole way of a reply from the collector to the sink.
func BenchmarkRefine(b *testing.B) {
	const lines = 1000
	reply := bytes.Repeat([]byte("cpu,cpu=cpu-total,rack=a usage_user=12.3,usage_system=4.5,usage_idle=83.2,usage_nice=0 1700000000000000000\n"), lines)
	f := func(name string, o selection.Options) {
		b.Run(name, func(b *testing.B) {
			filter, err := selection.New(o)
			if err != nil {
				b.Fatal(err)
			}
			r := newRefiner(config.Input{Filter: filter}, map[string]string{"host": "n1"}, func(context.Context, []byte, int) {}, slog.New(slog.DiscardHandler))
			b.ReportAllocs()
			for b.Loop() {
				if n, _ := r.pass(b.Context(), reply, 17); n != lines {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/line")
		})
	}
	f("no filter", selection.Options{})
	f("namepass exact", selection.Options{NamePass: []string{"cpu", "mem", "swap"}})
	f("namepass globs", selection.Options{NamePass: []string{"mem*", "c?u", "disk*"}})
	f("tagexclude", selection.Options{TagExclude: []string{"rack"}})
	f("fieldinclude globs", selection.Options{FieldInclude: []string{"usage_[iu]*"}})
}
