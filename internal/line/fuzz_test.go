package line

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/influxdata/influxdb/models"
)

// FuzzScan: a scan and InfluxDB's parser agree, in every precision.
func FuzzScan(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, p uint8) { agree(t, body, Precision(p%6)) })
}

// FuzzStructure: what Cut cuts is what InfluxDB stores and what line-protocol
// v2 decodes, but for the disagreements that decoder_test.go names.
func FuzzStructure(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		points, _ := influxErrors(body, Nanosecond)
		for rest := body; ; {
			l, after, err := Cut(rest)
			if err == io.EOF {
				return
			}
			var bad *Error
			if errors.As(err, &bad) {
				if Stricter(bad.Reason) {
					return // the points would be out of step
				}
				rest = after
				continue
			}
			rest = after
			if stampInRange(l) {
				compareInflux(t, l, points[0])
				points = points[1:]
			}
			compareDecoder(t, l)
		}
	})
}

// FuzzEdit: splicing and then parsing is parsing and then editing.
func FuzzEdit(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, prefix, suffix, name, key1, value1, key2, value2 string) {
		l, _, err := Cut(body)
		if err != nil || !stampInRange(l) {
			return
		}
		e := Edit{Prefix: prefix, Suffix: suffix, Name: name, Tags: []Tag{{key1, value1}, {key2, value2}}, TickUnixNano: 42}
		if key2 < key1 {
			e.Tags[0], e.Tags[1] = e.Tags[1], e.Tags[0]
		}
		checkEdit(t, &e, l)
	})
}

// FuzzAppendSound: what AppendSound makes is sound, stamped, the same points,
// and stays as it is; and bodies without bad lines may be joined.
func FuzzAppendSound(f *testing.F) {
	f.Fuzz(func(t *testing.T, a, b []byte, p uint8, now int32) {
		precision := Precision(p % 6)
		lines := checkAppendSound(t, a, precision, int64(now))
		lines += checkAppendSound(t, b, precision, int64(now))
		if a, b = terminated(a, precision), terminated(b, precision); a != nil && b != nil {
			if r := agree(t, append(a, b...), precision); r.Lines != lines || len(r.Bad) > 0 {
				t.Errorf("%q joined: %+v, want %d lines", a, r, lines)
			}
		}
	})
}

// terminated returns a body without bad lines ended by a newline, else nil.
func terminated(body []byte, p Precision) []byte {
	var s Scanner
	r := s.Scan(body, p)
	if len(r.Bad) > 0 {
		return nil
	}
	body = append([]byte{}, body...)
	if r.Unterminated {
		body = append(body, '\n')
	}
	return body
}

func checkAppendSound(t *testing.T, body []byte, p Precision, now int64) (lines int) {
	t.Helper()
	var s Scanner
	r := s.Scan(body, p)
	out := AppendSound(nil, body, r, p, now)
	got := agree(t, out, Nanosecond)
	if got.Lines != r.Lines || got.Unstamped > 0 || len(got.Bad) > 0 || got.Unterminated {
		t.Errorf("%q became %q: %+v, was %+v", body, out, got, r)
	}
	if again := AppendSound(nil, out, got, Nanosecond, now+1); !bytes.Equal(again, out) {
		t.Errorf("%q became %q when repeated", out, again)
	}
	if _, stricter := ourErrors(body, r); stricter == 0 {
		before, _ := models.ParsePointsWithPrecision(bytes.Clone(body), time.Unix(0, now), allPrecisions[p])
		after, _ := models.ParsePoints(bytes.Clone(out))
		for i, want := range before {
			if stamp := want.UnixNano(); after[i].UnixNano() != stamp && stamp != time.Unix(0, now).Truncate(p.Duration()).UnixNano() {
				t.Errorf("%q became %q", want, after[i])
			}
			if !bytes.Equal(want.Key(), after[i].Key()) {
				t.Errorf("%q became %q", want, after[i])
			}
		}
	}
	return r.Lines
}

func stampInRange(l Line) bool {
	text := append([]byte("m f=1 "), l.Timestamp...)
	var s Scanner
	return s.Scan(text, Nanosecond).Lines == 1
}

// compareInflux compares with what InfluxDB makes of the same line.
func compareInflux(t *testing.T, l Line, p models.Point) {
	t.Helper()
	if want := string(models.ParseName(p.Key())); l.Name() != want {
		t.Errorf("name %q, InfluxDB has %q", l.Name(), want)
	}
	if diff := cmp.Diff(p.Tags().Map(), tagMap(l)); diff != "" {
		t.Errorf("%q: tags (-InfluxDB +ours):\n%s", l.Tags, diff)
	}
	fields := map[string]any{}
	for key, raw := range l.EachField() {
		fields[key] = Value(raw)
	}
	want, err := p.Fields()
	if err != nil {
		t.Errorf("%q: %v", l.Fields, err)
	}
	if diff := cmp.Diff(map[string]any(want), fields); diff != "" {
		t.Errorf("%q: fields (-InfluxDB +ours):\n%s", l.Fields, diff)
	}
}

// tagMap is the tags of l as InfluxDB knows them. Its own map keeps the last
// of tags that are the same once they are unescaped.
func tagMap(l Line) map[string]string {
	tags := map[string]string{}
	for key, value := range l.EachTag() {
		tags[key] = value
	}
	return tags
}

// checkEdit compares an edited line with the edit of the parsed line.
func checkEdit(t *testing.T, e *Edit, l Line) {
	t.Helper()
	out := e.Append(nil, l)
	r := agree(t, out, Nanosecond)
	if r.Lines != 1 || r.Unstamped > 0 || r.Unterminated {
		t.Fatalf("%q: %+v", out, r)
	}
	got, _, err := Cut(out)
	if err != nil {
		t.Fatal(err)
	}
	stamp := string(l.Timestamp)
	if stamp == "" {
		stamp = "42"
	}
	if !bytes.Equal(got.Fields, l.Fields) || string(got.Timestamp) != stamp {
		t.Errorf("%q: fields or timestamp of %q changed", out, l.Fields)
	}
	if bytes.Contains(out, []byte(`\\`)) && bytes.Equal(got.Measurement, l.Measurement) && bytes.Equal(got.Tags, l.Tags) {
		return // left as it was
	}
	wantTags := tagMap(l)
	for _, add := range e.Tags {
		key, value := expressible(add.Key, ",= "), expressible(add.Value, ",= ")
		if _, there := wantTags[key]; !there && key != "" && value != "" {
			wantTags[key] = value
		}
	}
	if diff := cmp.Diff(wantTags, tagMap(got)); diff != "" {
		t.Errorf("%q: tags (-want +got):\n%s", out, diff)
	}
	if want := editedName(e, l); got.Name() != want {
		t.Errorf("%q: name %q, want %q", out, got.Name(), want)
	}
}

func editedName(e *Edit, l Line) string {
	name := l.Name()
	if e.Name != "" {
		name = expressible(e.Name, ", ")
	}
	name = expressible(e.Prefix, ", ") + name + expressible(e.Suffix, ", ")
	if name == "" {
		return l.Name()
	}
	if name[0] == '#' || name[0] == 0 {
		name = `\` + name
	}
	return name
}

// expressible is what line protocol can express of s.
func expressible(s, special string) string {
	s = strings.NewReplacer("\n", `\n`, "\t", `\t`, "\r", `\r`, "\f", `\f`).Replace(s)
	for {
		short := strings.TrimSuffix(s, `\`)
		for _, c := range special {
			short = strings.ReplaceAll(short, `\`+string(c), string(c))
		}
		if short == s {
			return s
		}
		s = short
	}
}
