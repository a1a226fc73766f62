package line

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// Limits bound what a line may consist of, below what InfluxDB would take. A
// bound of 0 is none.
type Limits struct {
	Line     int // bytes of a line
	Tags     int // of a line
	Fields   int // of a line
	Key      int // bytes of a measurement, a tag key or a field key
	TagValue int // bytes
}

// limitExceeded begins the reasons of lines that are beyond a limit.
const limitExceeded = "limit exceeded: "

// The shortest tag is ",k=v", the shortest field with what parts it from
// another "k=1,".
const shortest = 4

// room returns up to which size a key (measurement and tags), and a whole line,
// cannot be beyond any limit, so that nearly all lines cost two comparisons.
func (l *Limits) room() (key, whole int) {
	least := func(bounds ...int) int {
		room := math.MaxInt
		for _, b := range bounds {
			if b > 0 {
				room = min(room, b)
			}
		}
		return room
	}
	return least(shortest*l.Tags, l.Key, l.TagValue), least(l.Line, shortest*l.Fields, l.Key)
}

// exceeded returns the reason why the sound line at at is beyond a limit, or "".
func (l *Limits) exceeded(b []byte, at *layout) (reason string) {
	over := func(n, limit int, what string) bool {
		if limit <= 0 || n <= limit {
			return false
		}
		reason = fmt.Sprintf("%s%d %s, at most %d are taken", limitExceeded, n, what, limit)
		return true
	}
	parts := at.cut(b)
	if keyRoom, _ := l.room(); at.key-at.start <= keyRoom && (l.Line <= 0 || at.end-at.start <= l.Line) && l.fits(parts.Fields) {
		return ""
	}
	if over(at.end-at.start, l.Line, "bytes of line") || over(len(parts.Measurement), l.Key, "bytes of measurement") {
		return reason
	}
	tags, fields := 0, 0
	for rest := parts.Tags; len(rest) > 0; tags++ {
		var key, value []byte
		key, value, rest = nextTag(rest)
		if over(len(key), l.Key, "bytes of tag key") || over(len(value), l.TagValue, "bytes of tag value") {
			return reason
		}
	}
	for rest := parts.Fields; len(rest) > 0; fields++ {
		var key []byte
		key, _, rest = nextField(rest)
		if over(len(key), l.Key, "bytes of field key") {
			return reason
		}
	}
	if !over(tags, l.Tags, "tags") {
		over(fields, l.Fields, "fields")
	}
	return reason
}

// fits reports whether fields are surely within the limits, at the speed of the
// scan: there are no more commas than fields may be, and no key can be long where
// an equals sign is never far.
func (l *Limits) fits(fields []byte) bool {
	if l.Fields > 0 && bytes.Count(fields, []byte(",")) >= l.Fields {
		return false
	}
	if l.Key <= 0 {
		return true
	}
	if bytes.IndexByte(fields, '\\') >= 0 {
		return false // it may hide an equals sign in a key
	}
	for len(fields) > l.Key {
		i := bytes.LastIndexByte(fields[:l.Key+1], '=')
		if i < 0 {
			return false
		}
		fields = fields[i+1:]
	}
	return true
}

// Limited reports whether reason is that a line is beyond one of Limits: the
// line may be long, and there may be nothing else wrong with it.
func Limited(reason string) bool { return strings.HasPrefix(reason, limitExceeded) }
