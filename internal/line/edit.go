package line

import (
	"bytes"
	"strconv"
)

// Tag is an unescaped tag.
type Tag struct{ Key, Value string }

// Edit is what to splice into lines. Its zero value changes nothing but a
// missing timestamp.
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
}

// Append appends the edited line to dst, ended by a newline. A new tag goes to
// its sorted place if the tags of the line are sorted, else to the end.
// Everything else is copied byte for byte.
//
// What is sound stays sound: where a quote in the edit would become an open
// quote behind an oddly escaped key, the key is left as it was.
func (e *Edit) Append(dst []byte, l Line) []byte {
	start := len(dst)
	dst = e.appendName(dst, l.Measurement)
	dst = e.appendTags(dst, l.Tags)
	odd := bytes.Contains(dst[start:], []byte(`\\`))
	dst = e.appendRest(dst, l)
	if odd && !selfContained(dst[start:]) {
		dst = appendKey(dst[:start], l)
		dst = e.appendRest(dst, l)
	}
	return append(dst, '\n')
}

// appendKey appends the measurement and the tags as they are.
func appendKey(dst []byte, l Line) []byte {
	dst = append(dst, l.Measurement...)
	if len(l.Tags) > 0 {
		dst = append(append(dst, ','), l.Tags...)
	}
	return dst
}

// appendRest appends the fields and the timestamp.
func (e *Edit) appendRest(dst []byte, l Line) []byte {
	dst = append(dst, ' ')
	dst = append(dst, l.Fields...)
	dst = append(dst, ' ')
	if len(l.Timestamp) == 0 {
		return strconv.AppendInt(dst, e.TickUnixNano, 10)
	}
	return append(dst, l.Timestamp...)
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

func (e *Edit) appendTags(dst, tags []byte) []byte {
	start := len(dst)
	if len(tags) > 0 {
		dst = append(append(dst, ','), tags...)
	}
	sorted := len(e.Tags) > 0 && sortedTags(tags)
	for i := range e.Tags {
		dst = insertTag(dst, start, e.Tags[i], sorted)
	}
	return dst
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
