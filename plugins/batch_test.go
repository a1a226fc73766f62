package plugins

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/influxdata/influxdb/models"
)

func TestBatch(t *testing.T) {
	f := func(name, want string, fill func(b *Batch)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			var b Batch
			fill(&b)
			for range 2 { // asking twice changes nothing
				if diff := cmp.Diff(want, string(b.Bytes())); diff != "" {
					t.Error(diff)
				}
			}
			if b.Err() != nil {
				t.Error(b.Err())
			}
			wantAccepted(t, b.Bytes(), strings.Count(want, "\n"))
		})
	}
	f("empty", "", func(*Batch) {})
	f("types", `m f=1.5,i=-3i,u=4i,b=true,n=false,s="x"`+"\n", func(b *Batch) {
		b.Point("m").Float("f", 1.5).Int("i", -3).Uint("u", 4).Bool("b", true).Bool("n", false).String("s", "x")
	})
	f("no field", "", func(b *Batch) { b.Point("m").Tag("a", "b").Float("f", math.NaN()) })
	f("nan and infinities", "m x=1\n", func(b *Batch) {
		b.Point("m").Float("a", math.NaN()).Float("b", math.Inf(1)).Float("c", math.Inf(-1)).Float("x", 1)
	})
	f("large unsigned", "m u=9223372036854775807i\n", func(b *Batch) { b.Point("m").Uint("u", math.MaxUint64) })
	f("floats have no exponent", "m a=1000000000000000000000,b=0.0000001,c=-0\n", func(b *Batch) {
		b.Point("m").Float("a", 1e21).Float("b", 1e-7).Float("c", math.Copysign(0, -1))
	})
	f("tags are sorted, the last of each counts, empty ones are dropped", "m,a=3,b=2 x=1i\n", func(b *Batch) {
		b.Point("m").Tag("b", "2").Tag("a", "1").Tag("c", "").Tag("", "v").Tag("a", "3").Int("x", 1)
	})
	f("the last of two fields counts", "m x=\"b\",y=2i\n", func(b *Batch) {
		b.Point("m").Int("x", 1).Int("y", 2).String("x", "b")
	})
	f("tags after fields, points side by side", "m,a=1 x=1i\nn,a=2 x=2i\n", func(b *Batch) {
		m, n := b.Point("m"), b.Point("n")
		n.Int("x", 2).Tag("a", "2")
		m.Int("x", 1).Tag("a", "1")
	})
	f("time", "m x=1i 1717171717000000001\nm x=1i -1\n", func(b *Batch) {
		b.Point("m").Int("x", 1).At(time.Unix(1717171717, 1))
		b.Point("m").Int("x", 1).At(time.Unix(0, -1))
	})
	f("escaping", `m\ a\,b=c,k\ \,\==v\ \,\= f\ \,\=="q\"\\"`+"\n", func(b *Batch) {
		b.Point("m a,b=c").Tag("k ,=", "v ,=").String("f ,=", `q"\`)
	})
	f("newline in a string stays", "m s=\"a\nb\r\tc\"\n", func(b *Batch) { b.Point("m").String("s", "a\nb\r\tc") })
	f("control characters in names", `m\n,k\t=v\f\r f\n=1i`+"\n", func(b *Batch) {
		b.Point("m\n").Tag("k\t", "v\f\r").Int("f\n", 1)
	})
	f("backslashes", `m\n,k=v\w f=1i`+"\n", func(b *Batch) {
		b.Point(`m\n`).Tag(`k\\`, `v\w\`).Int(`f\`, 1)
	})
	f("backslash before an escaped character", `m,k=v\ w f\,=1i`+"\n", func(b *Batch) {
		b.Point("m").Tag("k", `v\\ w`).Int(`f\,`, 1)
	})
	f("not utf-8", "m\uFFFD,k=\uFFFD f=\"a\uFFFDb\"\n", func(b *Batch) {
		b.Point("m\xff").Tag("k", "\xc3\x28"[:1]).String("f", "a\xffb")
	})
	f("unicode", "温度,где=дом s=\"°C\"\n", func(b *Batch) { b.Point("温度").Tag("где", "дом").String("s", "°C") })
}

func wantAccepted(t *testing.T, lines []byte, points int) {
	t.Helper()
	got, err := models.ParsePointsWithPrecision(lines, time.Now(), "n")
	if err != nil {
		t.Fatalf("InfluxDB refuses %q: %v", lines, err)
	}
	// A newline within a string is no end of a line to InfluxDB.
	if len(got) > points {
		t.Fatalf("InfluxDB reads %d points from %q", len(got), lines)
	}
}

func TestBatchProblems(t *testing.T) {
	f := func(name, want string, fill func(p *Point), measurement string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			var b Batch
			fill(b.Point(measurement).Int("x", 1))
			b.Point("next").Int("x", 1)
			lines := string(b.Bytes())
			if !strings.HasSuffix(lines, "next x=1i\n") {
				t.Errorf("the next point is lost: %q", lines)
			}
			if b.Err() == nil || !strings.Contains(b.Err().Error(), want) {
				t.Errorf("%v", b.Err())
			}
			b.Reset()
			if len(b.Bytes()) > 0 || b.Err() != nil {
				t.Error("Reset keeps something")
			}
		})
	}
	nothing := func(*Point) {}
	f("no name", "without a measurement", nothing, "")
	f("comment", "comment", nothing, "#m")
	f("nul before a comment", "comment", nothing, "\x00#m")
	f("time too late", "time 2262", func(p *Point) { p.At(time.Unix(0, math.MaxInt64)) }, "m")
	f("time too early", "time 0001", func(p *Point) { p.At(time.Time{}.Add(1)) }, "m")
	f("tag time", `"time"`, func(p *Point) { p.Tag("time", "1") }, "m")
	f("field time", `"time"`, func(p *Point) { p.Int("time", 1) }, "m")
	f("long tag", "70005 bytes", func(p *Point) { p.Tag("k", strings.Repeat("v", 70000)) }, "mm")
	f("long field", "70000 bytes", func(p *Point) { p.Int(strings.Repeat("v", 70000), 1) }, "m")
}

func TestProblemsAreBounded(t *testing.T) {
	var b Batch
	for range 1000 {
		b.Point("").Int("x", 1)
	}
	b.Bytes()
	if n := strings.Count(b.Err().Error(), "\n") + 1; n != maxProblems {
		t.Errorf("%d problems", n)
	}
}

// FuzzBatch: whatever an author passes, what comes out is accepted by InfluxDB,
// one point is at most one line, and what follows is left alone by it.
func FuzzBatch(f *testing.F) {
	f.Add("m", "k", "v", "f", "s", 1.5, int64(1), uint64(2), int64(3))
	f.Add("m\\", "k\\ ", "v\\,", "f\\=", "s\\\"\n", math.Inf(1), int64(math.MinInt64), uint64(math.MaxUint64), int64(math.MinInt64))
	f.Add("#", "time", "=", "time", "\\", 5e-324, int64(0), uint64(0), int64(0))
	f.Add("\x00 ", "\"", "\"", "a\"b", "a\" b=c", math.MaxFloat64, int64(0), uint64(0), int64(math.MaxInt64))
	f.Add("a\\\\ b", "a\\\\=", "\\\n", "\n", "\xff", -1e300, int64(0), uint64(0), int64(1))
	f.Fuzz(func(t *testing.T, name, key, value, field, text string, x float64, i int64, u uint64, ns int64) {
		var b Batch
		fill := func(p *Point) {
			p.Tag(key, value).Tag(value, key).Tag("host", text).
				Float(field, x).Int(field+"i", i).Uint("u"+field, u).String(text, text).String("s", text).Bool(key, i > 0)
		}
		fill(b.Point(name))
		fill(b.Point(name).At(time.Unix(0, ns)))
		b.Point("sentinel").Int("x", 1)
		lines := b.Bytes()

		points, err := models.ParsePointsWithPrecision(lines, time.Now(), "n")
		if err != nil {
			t.Fatalf("InfluxDB refuses %q: %v", lines, err)
		}
		if len(points) == 0 || len(points) > 3 {
			t.Fatalf("%d points from %q", len(points), lines)
		}
		if last := points[len(points)-1]; string(last.Name()) != "sentinel" || len(last.Tags()) > 0 {
			t.Fatalf("%q swallows what follows: %s", lines, last)
		}
		for _, p := range points {
			if _, err := p.Fields(); err != nil {
				t.Fatalf("fields of %q: %v", lines, err)
			}
		}
		checkText(t, points[0], text)
	})
}

// checkText expects a string to arrive as it was given.
func checkText(t *testing.T, p models.Point, text string) {
	if string(p.Name()) == "sentinel" {
		return // the points before it could not be written
	}
	fields, _ := p.Fields()
	if got, ok := fields["s"].(string); ok && got != strings.ToValidUTF8(text, "\uFFFD") && text != "s" {
		t.Fatalf("the string %q arrives as %q", text, got)
	}
}

// BenchmarkBatch writes what cpu does on a machine of four cores.
func BenchmarkBatch(b *testing.B) {
	names := []string{"cpu0", "cpu1", "cpu2", "cpu3", "cpu-total"}
	fields := []string{"usage_user", "usage_system", "usage_idle", "usage_nice", "usage_iowait",
		"usage_irq", "usage_softirq", "usage_steal", "usage_guest", "usage_guest_nice"}
	var batch Batch
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		for _, n := range names {
			p := batch.Point("cpu").Tag("cpu", n)
			for i, f := range fields {
				p.Float(f, 0.1+float64(i)*3.7)
			}
		}
		out = batch.appendTo(out[:0])
	}
	b.SetBytes(int64(len(out)))
}
