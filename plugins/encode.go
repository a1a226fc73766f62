package plugins

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

// encoder writes points as InfluxDB 1.x reads them. Measurement, tags,
// integers and booleans go through line-protocol's own encoder; strings and
// floats do not, because it escapes newlines in strings, which InfluxDB 1.x
// does not undo, and writes exponents where Telegraf writes digits.
type encoder struct {
	head lineprotocol.Encoder
}

// maxKeyBytes is what InfluxDB allows for measurement, tags and one field key.
const maxKeyBytes = 65535 - 16

// earliest and latest are the times that InfluxDB stores.
var (
	earliest = time.Unix(0, math.MinInt64+2)
	latest   = time.Unix(0, math.MaxInt64-1)
)

// append adds the line of p to dst, or nothing if p has no field to write.
func (e *encoder) append(dst []byte, p *Point) ([]byte, error) {
	if len(p.fields) == 0 {
		return dst, nil
	}
	if err := p.check(); err != nil {
		return dst, err
	}
	start := len(dst)
	dst, err := e.appendHead(dst, p)
	head := len(dst)
	if head-start > maxKeyBytes {
		return dst[:start], fmt.Errorf("name and tags take %d bytes; InfluxDB allows %d", head-start, maxKeyBytes)
	}
	dst, problem := appendFields(dst, p.fields, maxKeyBytes-(head-start))
	err = errors.Join(err, problem)
	if len(dst) == head {
		return dst[:start], err
	}
	if !p.at.IsZero() {
		dst = strconv.AppendInt(append(dst, ' '), p.at.UnixNano(), 10)
	}
	return append(dst, '\n'), err
}

// check refuses what cannot be a line at all.
func (p *Point) check() error {
	switch name := p.measurement; {
	case name == "":
		return errors.New("point without a measurement")
	case name[0] == '#':
		return errors.New("a name that begins with # would be read as a comment")
	case !p.at.IsZero() && (p.at.Before(earliest) || p.at.After(latest)):
		return fmt.Errorf("time %s is outside of what InfluxDB stores", p.at.Format(time.RFC3339))
	}
	return nil
}

// appendHead adds measurement and tags.
func (e *encoder) appendHead(dst []byte, p *Point) ([]byte, error) {
	var err error
	e.head.SetLax(true) // names are clean, tags sorted
	e.head.SetBuffer(dst)
	e.head.StartLine(p.measurement)
	p.tags = sorted(p.tags)
	for _, t := range p.tags {
		switch {
		case t.key == reserved:
			err = errReserved
		case t.key != "" && t.value != "":
			e.head.AddTag(t.key, t.value)
		}
	}
	return e.head.Bytes(), err
}

// reserved is the one name that InfluxDB refuses for tags and drops for fields.
const reserved = "time"

var errReserved = errors.New(`a tag or field cannot be called "time": InfluxDB drops it`)

// sorted sorts tags by key and keeps the last one of each.
func sorted(tags []tag) []tag {
	slices.SortStableFunc(tags, func(a, b tag) int { return strings.Compare(a.key, b.key) })
	kept := tags[:0]
	for i, t := range tags {
		if i+1 == len(tags) || tags[i+1].key != t.key {
			kept = append(kept, t)
		}
	}
	return kept
}

// appendFields adds the fields, each key of at most room bytes.
func appendFields(dst []byte, fields []field, room int) ([]byte, error) {
	var err error
	separator := byte(' ')
	for _, f := range fields {
		switch {
		case f.key == "":
			continue
		case f.key == reserved:
			err = errReserved
			continue
		case 2*len(f.key) > room:
			err = fmt.Errorf("the name of a field takes %d bytes, which is too long", len(f.key))
			continue
		}
		dst = appendEscaped(append(dst, separator), f.key, ", =")
		dst = f.appendValue(append(dst, '='))
		separator = ','
	}
	return dst, err
}

func (f *field) appendValue(dst []byte) []byte {
	switch f.kind {
	case kindFloat:
		return strconv.AppendFloat(dst, math.Float64frombits(f.number), 'f', -1, 64)
	case kindInt:
		return lineprotocol.IntValue(int64(f.number)).AppendBytes(dst)
	case kindBool:
		return lineprotocol.BoolValue(f.number != 0).AppendBytes(dst)
	}
	dst = appendEscaped(append(dst, '"'), strings.ToValidUTF8(f.text, "\uFFFD"), `"\`)
	return append(dst, '"')
}

// appendEscaped adds s with a backslash before each of the special bytes.
func appendEscaped(dst []byte, s, special string) []byte {
	for {
		i := strings.IndexAny(s, special)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		dst = append(dst, '\\', s[i])
		s = s[i+1:]
	}
}

// clean makes a name of s that InfluxDB reads back as one name. Control
// characters become their escapes as text, as Telegraf writes them; a
// backslash at the end, or before a character that is escaped itself, cannot
// be told from an escape and is dropped.
func clean(s string) string {
	if plain(s) {
		return s
	}
	s = controls.Replace(strings.ToValidUTF8(s, "\uFFFD"))
	var b strings.Builder
	for i := range len(s) {
		if s[i] != '\\' || !ambiguous(s[i+1:]) {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// ambiguous reports whether a backslash before rest would be read as the
// escape of something.
func ambiguous(rest string) bool {
	rest = strings.TrimLeft(rest, `\`)
	return rest == "" || strings.IndexByte(", =", rest[0]) >= 0
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '\\' || s[i] >= utf8.RuneSelf {
			return utf8.ValidString(s) && strings.IndexFunc(s, odd) < 0
		}
	}
	return true
}

func odd(r rune) bool { return r < ' ' || r == '\\' }

// controls is immutable; it is a variable only because it cannot be a constant.
var controls = strings.NewReplacer("\t", `\t`, "\n", `\n`, "\f", `\f`, "\r", `\r`, "\x00", "")
