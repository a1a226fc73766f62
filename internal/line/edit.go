package line

import (
	"bytes"
	"math"
	"strconv"
)

// Tag is an unescaped tag.
type Tag struct{ Key, Value string }

// Edit is what to splice into lines, and what to cut out of them. Its zero value
// changes nothing but a missing timestamp. One goroutine may use it at a time.
//
// What line protocol cannot express is left out as Telegraf leaves it out: a
// tag without key or value, and backslashes before a byte that must be escaped
// or at the end. Newline, tab, carriage return and form feed become \n, \t, \r
// and \f.
type Edit struct {
	Prefix, Suffix string // put around the measurement
	Name           string // replaces the measurement unless it is empty
	Tags           []Tag  // sorted by key; each is added where its key is absent
	TickUnixNano   int64  // timestamp of a line that has none
	// KeepTag and KeepField tell by its unescaped key which tag and which field
	// of the line stays; nil: all do. They must not keep the key. What they cut
	// is gone before Tags are added.
	KeepTag, KeepField func(key string) bool

	key    Text
	parser parser
}

// Append appends the edited line to dst, ended by a newline; or nothing, if no
// field stays. A new tag goes to its sorted place if the tags of the line are
// sorted, else to the end. Everything else is copied byte for byte.
//
// What is sound stays sound: where a quote in the edit would become an open
// quote behind an oddly escaped key, the key is left as it was, and so is the
// whole line where InfluxDB would divide what is left of it in another way.
func (e *Edit) Append(dst []byte, l Line) []byte {
	start := len(dst)
	dst = e.appendName(dst, l.Measurement)
	dst, fewerTags := e.appendTags(dst, l.Tags)
	odd := bytes.Contains(dst[start:], []byte(`\\`))
	key := len(dst)
	dst = append(dst, ' ')
	dst, fewerFields := e.appendFields(dst, l.Fields)
	fields := len(dst)
	if fields == key+1 {
		return dst[:start]
	}
	dst = e.appendStamp(dst, l.Timestamp)
	cut := fewerTags || fewerFields
	if cut && !e.divides(dst[start:], key-start, fields-start) || !cut && odd && !selfContained(dst[start:len(dst)-1]) {
		dst = appendKey(dst[:start], l)
		dst = append(append(dst, ' '), l.Fields...)
		dst = e.appendStamp(dst, l.Timestamp)
	}
	return dst
}

// divides reports whether text, a line that has been shortened, is sound, with
// its parts where they were put. A plain line always is. But an odd one may owe
// its soundness to what was cut: a comma may have stood for a missing one.
func (e *Edit) divides(text []byte, key, fields int) bool {
	if e.parser.limit == 0 {
		e.parser.setLimit(math.MaxInt64)
	}
	next, what, _ := e.parser.line(text, 0)
	at := &e.parser.at
	return what == sound && next == len(text) && at.start == 0 && at.key == key && at.fields == key+1 && at.fieldsEnd == fields
}

// appendKey appends the measurement and the tags as they are.
func appendKey(dst []byte, l Line) []byte {
	dst = append(dst, l.Measurement...)
	if len(l.Tags) > 0 {
		dst = append(append(dst, ','), l.Tags...)
	}
	return dst
}

// appendStamp appends the timestamp, or the tick if there is none, and the
// newline.
func (e *Edit) appendStamp(dst, stamp []byte) []byte {
	dst = append(dst, ' ')
	if len(stamp) == 0 {
		dst = strconv.AppendInt(dst, e.TickUnixNano, 10)
	} else {
		dst = append(dst, stamp...)
	}
	return append(dst, '\n')
}

// appendFields appends the fields that stay.
func (e *Edit) appendFields(dst, fields []byte) (out []byte, fewer bool) {
	if e.KeepField == nil {
		return append(dst, fields...), false
	}
	start := len(dst)
	for rest := fields; len(rest) > 0; {
		key, value, next := nextField(rest)
		if !e.KeepField(e.key.of(key, `," =`)) {
			fewer = true
		} else {
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = append(dst, rest[:len(key)+1+len(value)]...)
		}
		rest = next
	}
	if !fewer { // there may be more to an odd section than its fields
		dst = append(dst[:start], fields...)
	}
	return dst, fewer
}

func (e *Edit) appendName(dst, name []byte) []byte {
	start := len(dst)
	dst = appendEscaped(dst, e.Prefix, ", ")
	if e.Name == "" {
		dst = append(dst, name...)
	} else {
		dst = appendEscaped(dst, e.Name, ", ")
	}
	dst = appendEscaped(dst, e.Suffix, ", ")
	if len(dst) == start {
		return append(dst, name...)
	}
	// InfluxDB would take the line for a comment, or skip the NUL.
	if c := dst[start]; c == '#' || c == 0 {
		dst = append(dst, c)
		copy(dst[start+1:], dst[start:])
		dst[start] = '\\'
	}
	return dst
}

// appendTags appends the tags that stay, and Tags.
func (e *Edit) appendTags(dst, tags []byte) (out []byte, fewer bool) {
	start := len(dst)
	if e.KeepTag != nil {
		dst, fewer = e.appendKept(dst, tags)
	} else if len(tags) > 0 {
		dst = append(append(dst, ','), tags...)
	}
	sorted := len(e.Tags) > 0 && sortedTags(dst[min(start+1, len(dst)):])
	for i := range e.Tags {
		dst = insertTag(dst, start, e.Tags[i], sorted)
	}
	return dst, fewer
}

func (e *Edit) appendKept(dst, tags []byte) (out []byte, fewer bool) {
	for rest := tags; len(rest) > 0; {
		key, value, next := nextTag(rest)
		if e.KeepTag(e.key.of(key, ",= ")) {
			dst = append(append(dst, ','), rest[:len(key)+1+len(value)]...)
		} else {
			fewer = true
		}
		rest = next
	}
	return dst, fewer
}

// insertTag inserts t into the tag section dst[start:], which is empty or
// begins with a comma, unless its key is there already.
func insertTag(dst []byte, start int, t Tag, sorted bool) []byte {
	end := len(dst)
	dst = append(dst, ',')
	dst = appendEscaped(dst, t.Key, ",= ")
	key := dst[end+1:]
	dst = append(dst, '=')
	dst = appendEscaped(dst, t.Value, ",= ")
	if len(key) == 0 || len(dst) == end+1+len(key)+1 {
		return dst[:end]
	}
	at := end
	for i := start; i < end; {
		k, v, _ := nextTag(dst[i+1 : end])
		switch c := bytes.Compare(k, key); {
		case c == 0:
			return dst[:end]
		case c > 0 && at == end && sorted:
			at = i
		}
		i += 1 + len(k) + 1 + len(v)
	}
	return moveTail(dst, at, end)
}

// moveTail moves dst[end:] to dst[at:].
func moveTail(dst []byte, at, end int) []byte {
	n := len(dst) - end
	if at == end {
		return dst
	}
	dst = append(dst, dst[end:]...)
	copy(dst[at+n:], dst[at:end])
	copy(dst[at:], dst[end+n:])
	return dst[:end+n]
}

func sortedTags(tags []byte) bool {
	var last []byte
	for len(tags) > 0 {
		var key []byte
		key, _, tags = nextTag(tags)
		if bytes.Compare(last, key) >= 0 {
			return false
		}
		last = key
	}
	return true
}

// appendEscaped appends s as a name (set ", ") or as a part of a tag (",= ").
func appendEscaped(dst []byte, s, set string) []byte {
	start := len(dst)
	for i := range len(s) {
		switch c := s[i]; c {
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			if within(set, c) {
				dst = append(trimBackslashes(dst, start), '\\')
			}
			dst = append(dst, c)
		}
	}
	return trimBackslashes(dst, start)
}

// trimBackslashes drops the backslashes at the end of dst[start:].
func trimBackslashes(dst []byte, start int) []byte {
	for len(dst) > start && dst[len(dst)-1] == '\\' {
		dst = dst[:len(dst)-1]
	}
	return dst
}
