package line

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/influxdata/influxdb/models"
)

// without keeps every key but those given.
func without(keys ...string) func(string) bool {
	return func(key string) bool { return !slices.Contains(keys, key) }
}

func TestShorten(t *testing.T) {
	f := func(name string, edit Edit, line, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			if want != "" {
				want += "\n"
			}
			got := edit.Append([]byte("x"), cutOne(t, line))
			if string(got) != "x"+want {
				t.Errorf("got  %q\nwant %q", got[1:], want)
			}
			agree(t, got[1:], Nanosecond)
		})
	}
	tags, fields := func(k ...string) Edit { return Edit{KeepTag: without(k...)} }, func(k ...string) Edit { return Edit{KeepField: without(k...)} }
	f("no such tag", tags("x"), `m,b=1,a=2 g=1,f=2 17`, `m,b=1,a=2 g=1,f=2 17`)
	f("first tag", tags("b"), `m,b=1,a=2 g=1,f=2 17`, `m,a=2 g=1,f=2 17`)
	f("last tag", tags("a"), `m,b=1,a=2 g=1,f=2 17`, `m,b=1 g=1,f=2 17`)
	f("all tags", tags("a", "b"), `m,b=1,a=2 g=1,f=2 17`, `m g=1,f=2 17`)
	f("tags of a line without", tags("a"), `m f=1 17`, `m f=1 17`)
	f("escaped key", tags("a b,=c"), `m,a\ b\,\=c=1,d=2 f=1 17`, `m,d=2 f=1 17`)
	f("key as it is escaped", tags(`a\ b`), `m,a\ b=1 f=1 17`, `m,a\ b=1 f=1 17`)
	f("value with escapes", tags("a"), `m,a=x\,b\=1\ y,b=2 f=1 17`, `m,b=2 f=1 17`)
	f("first field", fields("g"), `m,b=1 g=1,f=2i 17`, `m,b=1 f=2i 17`)
	f("middle field", fields("h"), `m g=1.50,h=2,f=-0e0 17`, `m g=1.50,f=-0e0 17`)
	f("last field", fields("f"), `m g=1,f=2 17`, `m g=1 17`)
	f("no field is left", fields("f", "g"), `m g=1,f=2 17`, ``)
	f("string with everything", fields("f"), `m f="a, b=\"c\" \\",g="d, e=\"f\" \\",h=t 17`, `m g="d, e=\"f\" \\",h=t 17`)
	f("string with a newline", fields("f"), "m f=1,g=\"a\nb\",h=2 17", "m g=\"a\nb\",h=2 17")
	f("escaped field key", fields(`a b,="c`), `m a\ b\,\=\"c=1,d=2 17`, `m d=2 17`)
	f("the same field twice", fields("f"), `m f=1,g=2,f=3 17`, `m g=2 17`)
	f("stamp of what is left", Edit{KeepField: without("f"), TickUnixNano: 42}, `m f=1,g=2`, `m g=2 42`)
	f("a tag that was cut is added", Edit{KeepTag: without("b"), Tags: []Tag{{"b", "9"}}}, `m,a=1,b=2,c=3 f=1 17`, `m,a=1,b=9,c=3 f=1 17`)
	f("a tag that stays is not", Edit{KeepTag: without("a"), Tags: []Tag{{"b", "9"}}}, `m,a=1,b=2,c=3 f=1 17`, `m,b=2,c=3 f=1 17`)
	f("a tag where none is left", Edit{KeepTag: without("a"), Tags: []Tag{{"z", "9"}}}, `m,a=1 f=1 17`, `m,z=9 f=1 17`)
	f("everything at once", Edit{Prefix: "p_", KeepTag: without("a"), KeepField: without("f"), Tags: []Tag{{"c", "9"}}}, `m,a=1,b=2 f=1,g=2 17`, `p_m,b=2,c=9 g=2 17`)
	// Cut as meant, these would be divided in another way, or not be sound.
	f("a tab would be skipped", fields("f"), "m f=1,\tg=2 17", "m f=1,\tg=2 17")
	f("a comma behind the last field", fields("x"), `m f="x"=1, 17`, `m f="x"=1, 17`)
	f("a comma stands for another", fields("f"), `m f="x"=1,g,h=2 17`, `m f="x"=1,g,h=2 17`)
}

// FuzzShorten: cutting fields and tags out of a line and parsing it is parsing
// it and then taking them away, by InfluxDB's parser and line-protocol's alike.
// What stays is the same bytes in the same order.
func FuzzShorten(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, name, key, value string, tags, fields uint16) {
		l, _, err := Cut(body)
		if err != nil || !stampInRange(l) {
			return
		}
		keep := func(bits uint16) func(string) bool {
			return func(key string) bool {
				var sum uint16
				for i := range len(key) {
					sum += uint16(key[i])
				}
				return bits>>(sum%16)&1 == 1
			}
		}
		e := Edit{Name: name, Tags: []Tag{{key, value}}, TickUnixNano: 42, KeepTag: keep(tags), KeepField: keep(fields)}
		checkShorten(t, &e, l)
	})
}

// checkShorten compares a shortened line with the shortened point.
func checkShorten(t *testing.T, e *Edit, l Line) {
	t.Helper()
	var wantFields, wantTags []string
	cut := 0
	for rest := l.Fields; len(rest) > 0; {
		key, value, next := nextField(rest)
		if e.KeepField(unescape(key, `," =`)) {
			wantFields = append(wantFields, string(key)+"="+string(value))
		} else {
			cut++
		}
		rest = next
	}
	want := strings.Join(wantFields, ",")
	if cut == 0 {
		want = string(l.Fields)
	}
	for rest := l.Tags; len(rest) > 0; {
		key, value, next := nextTag(rest)
		if e.KeepTag(unescape(key, ",= ")) {
			wantTags = append(wantTags, string(key)+"="+string(value))
		} else {
			cut++
		}
		rest = next
	}
	out := e.Append(nil, l)
	if len(wantFields) == 0 {
		if len(out) > 0 {
			t.Errorf("no field is left, but %q is", out)
		}
		return
	}
	r := agree(t, out, Nanosecond)
	if r.Lines != 1 || r.Unstamped > 0 || r.Unterminated {
		t.Fatalf("%q: %+v", out, r)
	}
	got, _, err := Cut(out)
	if err != nil {
		t.Fatal(err)
	}
	asItWas := string(got.Measurement) == string(l.Measurement) && string(got.Tags) == string(l.Tags) && string(got.Fields) == string(l.Fields)
	if asItWas && (cut > 0 || strings.Contains(string(out), `\\`)) {
		if !strings.ContainsAny(string(out), "\"\\\t\x00") {
			t.Errorf("%q was left as it was", out)
		}
		return
	}
	if diff := cmp.Diff(want, string(got.Fields)); diff != "" {
		t.Errorf("%q: fields (-want +got):\n%s", out, diff)
	}
	kept := "," + string(got.Tags) + ","
	for _, tag := range wantTags {
		at := strings.Index(kept, ","+tag+",")
		if at < 0 {
			t.Errorf("%q: the tag %s is not in its place", out, tag)
			break
		}
		kept = kept[at+1+len(tag):]
	}
	checkPoint(t, e, l, out)
	compareDecoder(t, got)
}

// checkPoint compares what InfluxDB makes of an edited line with the edit of
// what it makes of the line.
func checkPoint(t *testing.T, e *Edit, l Line, out []byte) {
	t.Helper()
	before := append(appendKey(nil, l), ' ')
	before = append(append(append(before, l.Fields...), ' '), l.Timestamp...)
	was, _ := influxErrors(before, Nanosecond)
	is, _ := influxErrors(out, Nanosecond)
	wantTags, wantFields := map[string]string{}, models.Fields{}
	for key, value := range was[0].Tags().Map() {
		if e.KeepTag(key) {
			wantTags[key] = value
		}
	}
	for _, add := range e.Tags {
		key, value := expressible(add.Key, ",= "), expressible(add.Value, ",= ")
		if _, there := wantTags[key]; !there && key != "" && value != "" {
			wantTags[key] = value
		}
	}
	all, err := was[0].Fields()
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range all {
		if e.KeepField(key) {
			wantFields[key] = value
		}
	}
	fields, err := is[0].Fields()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantFields, fields); diff != "" {
		t.Errorf("%q became %q: fields (-want +got):\n%s", before, out, diff)
	}
	if diff := cmp.Diff(wantTags, is[0].Tags().Map()); diff != "" {
		t.Errorf("%q became %q: tags (-want +got):\n%s", before, out, diff)
	}
	if got, want := string(models.ParseName(is[0].Key())), editedName(e, l); got != want {
		t.Errorf("%q became %q: name %q, want %q", before, out, got, want)
	}
}
