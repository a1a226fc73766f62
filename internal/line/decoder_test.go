package line

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/influxdata/influxdb/models"
	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

// decoded is a line as one of the parsers understands it.
type decoded struct {
	Name   string
	Tags   [][2]string
	Fields []field
	Stamp  string
}

type field struct {
	Key   string
	Value any
}

func ours(l Line) decoded {
	d := decoded{Name: l.Name(), Stamp: string(l.Timestamp)}
	for key, value := range l.EachTag() {
		d.Tags = append(d.Tags, [2]string{key, value})
	}
	for key, raw := range l.EachField() {
		d.Fields = append(d.Fields, field{key, Value(raw)})
	}
	return d
}

// theirs decodes a line with line-protocol/v2.
func theirs(l Line) (d decoded, err error) {
	text := append(appendKey(nil, l), ' ')
	text = append(append(append(text, l.Fields...), ' '), l.Timestamp...)
	dec := lineprotocol.NewDecoderWithBytes(text)
	dec.Next()
	name, err := dec.Measurement()
	if err != nil {
		return d, err
	}
	d.Name = string(name)
	for {
		key, value, err := dec.NextTag()
		if err != nil {
			return d, err
		}
		if key == nil {
			break
		}
		d.Tags = append(d.Tags, [2]string{string(key), string(value)})
	}
	for {
		key, value, err := dec.NextField()
		if err != nil {
			return d, err
		}
		if key == nil {
			break
		}
		d.Fields = append(d.Fields, field{string(key), value.Interface()})
	}
	stamp, err := dec.TimeBytes()
	d.Stamp = string(stamp)
	return d, err
}

// compareDecoder compares with line-protocol/v2. It is the pickier of the two
// about what a line may hold; where it takes the line, the parts are the same.
func compareDecoder(t *testing.T, l Line) {
	t.Helper()
	want, err := theirs(l)
	if err != nil || escapesDiffer(l) {
		return
	}
	if diff := cmp.Diff(want, ours(l)); diff != "" {
		t.Errorf("%q %q %q (-decoder +ours):\n%s", l.Measurement, l.Tags, l.Fields, diff)
	}
}

// escapesDiffer reports whether the fields hold one of the escapes that
// InfluxDB 1.x and line-protocol/v2 know differently: \" in a key, which only
// InfluxDB unescapes, and \n, \r and \t in a string, which it does not.
func escapesDiffer(l Line) bool {
	for rest := l.Fields; len(rest) > 0; {
		var key, value []byte
		key, value, rest = nextField(rest)
		if bytes.Contains(key, []byte(`\"`)) {
			return true
		}
		for _, esc := range []string{`\n`, `\r`, `\t`} {
			if bytes.Contains(value, []byte(esc)) {
				return true
			}
		}
	}
	return false
}

func TestDecoderAgrees(t *testing.T) {
	for _, text := range []string{
		`cpu,host=a usage=1.5,n=3i,ok=true,s="x\"y\\" 1700000000000000000`, `m f=1`, `a\,b\ c,d\=e=f\ g h\ i="j,k l"`,
		`m,b=1,a=2 f=-1e-5,g=f,h="" -1`, `a=b f=1`, `m,t="q" "k"=1 0`,
	} {
		l := cutOne(t, text)
		want, err := theirs(l)
		if err != nil || escapesDiffer(l) {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, ours(l)); diff != "" {
			t.Errorf("%s (-decoder +ours):\n%s", text, diff)
		}
	}
}

// The known disagreements with line-protocol/v2.

func TestDecoderRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"control character in a name":       "m\tx f=1",
		"control character in a tag":        "m,t=a\x01b f=1",
		"newline in a tag":                  "m,t=a\\\nb f=1",
		"tag value begins with equals sign": "m,t==a f=1",
		"not UTF-8":                         "m\xff f=1",
		"text behind the closing quote":     `m f="a"b`,
		"equals sign hidden by a backslash": `m a\\=1,b=2`,
	} {
		t.Run(name, func(t *testing.T) {
			if d, err := theirs(cutOne(t, text)); err == nil {
				t.Errorf("the decoder takes it: %+v", d)
			}
		})
	}
}

func TestDecoderUnescapesStringsFurther(t *testing.T) {
	l := cutOne(t, `m f="a\nb\tc\rd"`)
	want, _ := theirs(l)
	if want.Fields[0].Value != "a\nb\tc\rd" || ours(l).Fields[0].Value != `a\nb\tc\rd` {
		t.Errorf("decoder %q, ours %q", want.Fields, ours(l).Fields)
	}
}

func TestDecoderKeepsEscapedQuoteInKey(t *testing.T) {
	l := cutOne(t, `m a\"b=1`)
	want, _ := theirs(l)
	if want.Fields[0].Key != `a\"b` || ours(l).Fields[0].Key != `a"b` {
		t.Errorf("decoder %q, ours %q", want.Fields, ours(l).Fields)
	}
}

// InfluxDB unescapes names in two ways; line-protocol/v2 and we do as
// models.ParseName does, which reads the names of stored series.
func TestPointNameUnescapesFurther(t *testing.T) {
	const text = `a\=b f=1`
	l := cutOne(t, text)
	points, _ := models.ParsePointsString(text)
	if string(points[0].Name()) != "a=b" || string(models.ParseName(points[0].Key())) != `a\=b` || l.Name() != `a\=b` {
		t.Errorf("%q, ours %q", points[0].Name(), l.Name())
	}
}
