package line

import (
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCut(t *testing.T) {
	const body = "# comment\n\n  a\\,b,h\\ ost=x\\=y,z=1 f\\ 1=1.5,s=\"p,q \\\"r\\\"\" 17\nbad\nm f=1i"
	l, rest, err := Cut([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`a\,b`, `h\ ost=x\=y,z=1`, `f\ 1=1.5,s="p,q \"r\""`, "17"},
		[]string{string(l.Measurement), string(l.Tags), string(l.Fields), string(l.Timestamp)}); diff != "" {
		t.Error(diff)
	}
	if l.Name() != "a,b" {
		t.Errorf("Name() = %q", l.Name())
	}
	_, rest, err = Cut(rest)
	var bad *Error
	if !errors.As(err, &bad) || err.Error() != "unable to parse 'bad': missing fields" {
		t.Errorf("bad line: %v", err)
	}
	l, rest, err = Cut(rest)
	if err != nil || string(l.Measurement) != "m" || l.Tags != nil || len(l.Timestamp) != 0 {
		t.Errorf("last line: %+v, %v", l, err)
	}
	if _, rest, err = Cut(rest); err != io.EOF || rest != nil {
		t.Errorf("at the end: %q, %v", rest, err)
	}
}

func TestCutTakesEveryInt64(t *testing.T) {
	if _, _, err := Cut([]byte("m f=1 9223372036854775807")); err != nil {
		t.Error(err)
	}
	if _, _, err := Cut([]byte("m f=1 9223372036854775808")); err == nil {
		t.Error("no error beyond int64")
	}
}

func TestCutAllocatesNothing(t *testing.T) {
	body := append(loadBody(20), mixedBody(20)...)
	n := testing.AllocsPerRun(20, func() {
		for rest := body; len(rest) > 0; {
			var l Line
			l, rest, _ = Cut(rest)
			l.RawTag("host")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func cutOne(t testing.TB, text string) Line {
	t.Helper()
	l, _, err := Cut([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLineTags(t *testing.T) {
	l := cutOne(t, `m,a\ b=c\,d,e\=f==g,h=C:\\d f=1`)
	for key, want := range map[string]string{"a b": "c,d", "e=f": "=g", "h": `C:\\d`} {
		if got, ok := l.Tag(key); !ok || got != want {
			t.Errorf("Tag(%q) = %q, %v, want %q", key, got, ok, want)
		}
	}
	if v, ok := l.Tag("a"); ok {
		t.Errorf("Tag(a) = %q", v)
	}
	if v, ok := l.RawTag(`a\ b`); !ok || string(v) != `c\,d` {
		t.Errorf("RawTag = %q, %v", v, ok)
	}
	if v, ok := l.RawTag("x"); ok {
		t.Errorf("RawTag(x) = %q", v)
	}
	for key, value := range l.EachTag() {
		if key != "a b" || value != "c,d" {
			t.Errorf("first tag %q=%q", key, value)
		}
		break
	}
}

func TestLineFields(t *testing.T) {
	l := cutOne(t, `m a\ b=1.5,c=-7i,d="x\\\"y,z",e=T,f=-.5e1`)
	var got []any
	for key, raw := range l.EachField() {
		got = append(got, key, Value(raw))
	}
	if diff := cmp.Diff([]any{"a b", 1.5, "c", int64(-7), "d", `x\"y,z`, "e", true, "f", -5.0}, got); diff != "" {
		t.Error(diff)
	}
	for key := range l.EachField() {
		if key != "a b" {
			t.Errorf("first field %q", key)
		}
		break
	}
}

func TestValues(t *testing.T) {
	if v, ok := Float([]byte("3i")); !ok || v != 3 {
		t.Errorf("Float(3i) = %v, %v", v, ok)
	}
	for _, raw := range []string{"", `"x"`, "t", "word", "1x"} {
		if v, ok := Float([]byte(raw)); ok {
			t.Errorf("Float(%s) = %v", raw, v)
		}
	}
	for _, raw := range []string{"", "1", "t", `"1"`, "99999999999999999999i"} {
		if v, ok := Int([]byte(raw)); ok {
			t.Errorf("Int(%s) = %v", raw, v)
		}
	}
	for _, raw := range []string{"", "1", "tru", `"t"`} {
		if v, ok := Bool([]byte(raw)); ok {
			t.Errorf("Bool(%s) = %v", raw, v)
		}
	}
	for _, raw := range []string{"", "1", `"`, "t"} {
		if v, ok := String([]byte(raw)); ok {
			t.Errorf("String(%s) = %v", raw, v)
		}
	}
	for _, raw := range []string{"", "word", "1x", "tru", `"`, "1xi"} {
		if v := Value([]byte(raw)); v != nil {
			t.Errorf("Value(%s) = %v", raw, v)
		}
	}
}

func TestPrecision(t *testing.T) {
	for p, want := range map[Precision]string{
		Nanosecond: "ns 1ns", Microsecond: "us 1µs", Millisecond: "ms 1ms", Second: "s 1s", Minute: "m 1m0s", Hour: "h 1h0m0s",
	} {
		if got := p.String() + " " + p.Duration().String(); got != want {
			t.Errorf("%d: %s, want %s", p, got, want)
		}
	}
}

func TestAppendSound(t *testing.T) {
	const body = "# comment\n  b,z=1,a=2   f=1,g=\"x\ny\"   1700000000   \n\nbad\nm f=1\nm f=1 -5\nm f=1 1 1\nm f=1i"
	const want = "b,z=1,a=2   f=1,g=\"x\ny\" 1700000000000000000\nm f=1 42000000000\nm f=1 -5000000000\nm f=1i 42000000000\n"
	var s Scanner
	got := AppendSound([]byte("before\n"), []byte(body), s.Scan([]byte(body), Second), Second, 42e9)
	if diff := cmp.Diff("before\n"+want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestAppendSoundKeepsNanoseconds(t *testing.T) {
	const body = "m f=1 007\nm f=1 -0\n"
	if got := AppendSound(nil, []byte(body), Report{}, Nanosecond, 1); string(got) != body {
		t.Errorf("%q", got)
	}
}
