package line

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/influxdb/models"
)

func only(name string) *Nodes {
	return &Nodes{Allowed: func(n string) bool { return n == name }, Other: "other", Nameless: "nameless"}
}

func TestNodesOfLines(t *testing.T) {
	f := func(text, node, want string) {
		t.Helper()
		var s Scanner
		r := s.ScanNodes([]byte(text+"\n"), Nanosecond, only(node))
		got := ""
		if len(r.Bad) == 1 {
			got = r.Bad[0].Reason
		}
		if got != want || (want == "") != (r.Lines == 1) || r.Foreign != 1-r.Lines {
			t.Errorf("%s: %q (%d sound, %d foreign), want %q", text, got, r.Lines, r.Foreign, want)
		}
	}
	f("m,host=a v=1 1", "a", "")
	f("m,host=b v=1 1", "a", "other")
	f("m,host=aa v=1 1", "a", "other")
	f("m,node=a v=1 1", "a", "")
	f("m,node=b v=1 1", "a", "other")
	f("m,host=a,node=b v=1 1", "a", "") // host, else node
	f("m,node=a,host=b v=1 1", "a", "other")
	f("m,node=b,host=a v=1 1", "a", "")
	f("m v=1 1", "a", "nameless")
	f("m,hosts=a v=1 1", "a", "nameless")
	f("m,h=a,z=host v=1 1", "a", "nameless")
	f("m v=1,host=\"a\" 1", "a", "nameless")
	f(`m,host=a\ b v=1 1`, "a b", "")
	f(`m,host=a\,b v="x\"y" 1`, "a,b", "")
	f(`m\,host\=a,host=b v=1 1`, "a", "other")
	f("  m,host=a v=1 1", "a", "") // what is not plain
	f("  m,host=b v=1 1", "a", "other")
	f("m,x=\"q\",host=b v=1 1", "a", "other")
}

func TestOthersLinesAmongOnesOwn(t *testing.T) {
	const body = "m,host=a v=1 1\nm,host=b v=2 2\n# c\nbad\nm v=3 3\nm,host=a v=4\n"
	var s Scanner
	r := s.ScanNodes([]byte(body), Nanosecond, only("a"))
	var reasons []string
	for _, b := range r.Bad {
		reasons = append(reasons, body[b.Start:b.End]+": "+b.Reason)
	}
	want := "m,host=b v=2 2: other|bad: missing fields|m v=3 3: nameless"
	if got := strings.Join(reasons, "|"); got != want || r.Lines != 2 || r.Foreign != 2 || string(r.Stranger) != "b" {
		t.Errorf("%q, %+v", got, r)
	}
	if got := string(AppendSound(nil, []byte(body), r, Nanosecond, 9)); got != "m,host=a v=1 1\nm,host=a v=4 9\n" {
		t.Errorf("kept: %q", got)
	}
	var keys []string
	EachKey([]byte(body), r, Nanosecond, func(key []byte) { keys = append(keys, string(key)) })
	if fmt.Sprint(keys) != "[m,host=a m,host=a]" {
		t.Error(keys)
	}
}

func TestOthersLinesTolerated(t *testing.T) {
	nodes := only("a")
	nodes.Tolerate = true
	var s Scanner
	r := s.ScanNodes([]byte("m v=3 3\nm,host=b v=2 2\nm,host=a v=1 1\n"), Nanosecond, nodes)
	if len(r.Bad) != 0 || r.Lines != 3 || r.Foreign != 2 || len(r.Stranger) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAppendOwned(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := string(AppendOwned(nil, []byte(text), Nanosecond, only("a b"), "a b")); got != want {
			t.Errorf("%q became\n%q, want\n%q", text, got, want)
		}
	}
	f("m,host=x v=1 1\n", "m,host=a\\ b v=1 1\n")
	f("m,host=a\\ b v=1 1\n", "m,host=a\\ b v=1 1\n")
	f("m,host=x v=1 1", "m,host=a\\ b v=1 1")
	f("m,a=1,host=x,z=\\,2 v=\"a,host=x\" 1\nm,node=x v=1\n", "m,a=1,host=a\\ b,z=\\,2 v=\"a,host=x\" 1\nm,node=a\\ b v=1\n")
	f("m v=1 1\nm,a=1,z=2 v=1\n", "m,host=a\\ b v=1 1\nm,a=1,host=a\\ b,z=2 v=1\n")
	f("# m,host=x\n\n  m,host=x  v=1   1\nbad,host=x\n", "# m,host=x\n\n  m,host=a\\ b  v=1   1\nbad,host=x\n")
}

// FuzzNodes compares whose lines the scanner says they are with what
// InfluxDB's own parser reads of each sound line, and checks that what
// AppendOwned makes belongs to whom it should.
func FuzzNodes(f *testing.F) {
	for _, text := range []string{
		"m,host=a v=1 1\nm,node=b v=2\nm v=3 3\n", `m,host=a\ b v="x" 1`, "  m,x=\"q\",node=a,host=b v=1 1\n",
		`m,ho\st=a v=1`, `m,host=a\\ v=1`, `m\,host=a,node=\a v=1`, "m,h\\=ost=a v=\"\n,host=a\" 1\nm,host=a v=1\n",
	} {
		f.Add([]byte(text), "a")
	}
	f.Fuzz(func(t *testing.T, body []byte, name string) {
		nodes := only(name)
		var plain, checked Scanner
		sound, r := plain.Scan(body, Nanosecond), checked.ScanNodes(body, Nanosecond, nodes)
		want := 0
		eachSound(body, sound, Nanosecond, func(at *layout) {
			if owner, ok := influxNode(t, body[at.start:at.stampEnd]); ok && owner == name {
				want++
			}
		})
		if r.Lines != want || r.Foreign != sound.Lines-want || len(r.Bad) != len(sound.Bad)+r.Foreign {
			t.Fatalf("%q of %q: %d own lines of %d, want %d: %+v", body, name, r.Lines, sound.Lines, want, r)
		}
		if kept := AppendSound(nil, body, r, Nanosecond, 1); len(kept) > 0 || r.Lines > 0 {
			if again := checked.ScanNodes(kept, Nanosecond, nodes); again.Lines != r.Lines || len(again.Bad) > 0 {
				t.Fatalf("kept of %q: %q", body, kept)
			}
		}
		checkOwned(t, body, sound, nodes, name)
	})
}

// influxNode is the node of a line as InfluxDB reads it.
func influxNode(t *testing.T, text []byte) (string, bool) {
	points, err := models.ParsePointsWithPrecision(text, time.Unix(1, 0), "ns")
	if err != nil || len(points) != 1 {
		t.Fatalf("InfluxDB does not take %q: %v", text, err)
	}
	for _, key := range []string{"host", "node"} {
		if tag := points[0].Tags().Get([]byte(key)); tag != nil {
			return string(tag), true
		}
	}
	return "", false
}

func checkOwned(t *testing.T, body []byte, sound Report, nodes *Nodes, name string) {
	if name == "" || strings.ContainsAny(name, "\\\n\r\t\f\x00") || len(name) > 100 {
		return // names that no token can be made for
	}
	owned := AppendOwned(nil, body, Nanosecond, nodes, name)
	var s Scanner
	r := s.ScanNodes(owned, Nanosecond, nodes)
	if r.Foreign > 0 || r.Lines+len(r.Bad) != sound.Lines+len(sound.Bad) {
		t.Fatalf("%q became %q: %+v", body, owned, r)
	}
}

func TestNodeCheckAllocatesNothing(t *testing.T) {
	for name, body := range map[string][]byte{"plain": loadBody(100), "mixed": mixedBody(100)} {
		var s Scanner
		nodes := &Nodes{Allowed: func(n string) bool { return strings.HasPrefix(n, "node") }}
		s.ScanNodes(body, Nanosecond, nodes)
		if n := testing.AllocsPerRun(100, func() {
			if r := s.ScanNodes(body, Nanosecond, nodes); r.Foreign > 0 {
				t.Fatal(r)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkScanNodes(b *testing.B) {
	nodes := only("node1")
	own := []byte(strings.ReplaceAll(string(loadBody(5000)), "host=node", "host=node1"))
	for s := range 200 {
		own = []byte(strings.ReplaceAll(string(own), fmt.Sprintf("host=node1%d ", s), "host=node1 "))
	}
	for name, n := range map[string]*Nodes{"unchecked": nil, "checked": nodes} {
		b.Run(name, func(b *testing.B) {
			var s Scanner
			b.SetBytes(int64(len(own)))
			b.ReportAllocs()
			for b.Loop() {
				if r := s.ScanNodes(own, Nanosecond, n); len(r.Bad) > 0 {
					b.Fatal(r.Bad[0].Reason)
				}
			}
		})
	}
}
