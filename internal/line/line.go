// Package line reads lines of InfluxDB line protocol as bytes: it says which
// of them InfluxDB 1.x would take, cuts them into their parts, and splices
// tags, names and timestamps into them without re-encoding anything else.
//
//	weather,city=Basel,station=roof temperature=21.5,open=t 1700000000000000000
//	└──┬──┘ └──────────┬──────────┘ └──────────┬──────────┘ └────────┬────────┘
//	Measurement       Tags                  Fields               Timestamp
//
// The truth about acceptance is InfluxDB 1.x's own parser, oddities included:
// a newline inside a quoted string is data, a backslash hides the byte that
// follows it, text after a closing quote belongs to the string. Where this
// package is stricter it says so with a reason of its own (see Stricter).
package line

import (
	"bytes"
	"iter"
)

// Line is one sound line cut into its sections. The slices alias the text the
// line was cut from and are still escaped.
type Line struct {
	Measurement []byte
	Tags        []byte // without the leading comma; empty if there are none
	Fields      []byte
	Timestamp   []byte // empty if the line has none
}

// Name returns the unescaped measurement.
func (l Line) Name() string { return unescape(l.Measurement, ", ") }

// Tag returns the unescaped value of the tag with the unescaped key.
func (l Line) Tag(key string) (value string, ok bool) {
	for rest := l.Tags; len(rest) > 0; {
		var k, v []byte
		k, v, rest = nextTag(rest)
		if string(k) == key || (escaped(k) && unescape(k, ",= ") == key) {
			return unescape(v, ",= "), true
		}
	}
	return "", false
}

// RawTag is Tag for hot paths: the key is compared as it stands in the line
// and the value is returned still escaped, so nothing is allocated.
func (l Line) RawTag(key string) (value []byte, ok bool) {
	for rest := l.Tags; len(rest) > 0; {
		var k, v []byte
		k, v, rest = nextTag(rest)
		if string(k) == key {
			return v, true
		}
	}
	return nil, false
}

// Without returns the line without the tags of the unescaped key. Every other
// byte stays as it is.
func (l Line) Without(key string) Line {
	tags := make([]byte, 0, len(l.Tags))
	for rest := l.Tags; len(rest) > 0; {
		var k, v []byte
		k, v, rest = nextTag(rest)
		if string(k) == key || escaped(k) && unescape(k, ",= ") == key {
			continue
		}
		if len(tags) > 0 {
			tags = append(tags, ',')
		}
		tags = append(append(append(tags, k...), '='), v...)
	}
	l.Tags = tags
	return l
}

// EachTag iterates over the unescaped tags in the order of the line.
func (l Line) EachTag() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for rest := l.Tags; len(rest) > 0; {
			var k, v []byte
			k, v, rest = nextTag(rest)
			if !yield(unescape(k, ",= "), unescape(v, ",= ")) {
				return
			}
		}
	}
}

// EachField iterates over the fields in the order of the line: the unescaped
// key and the raw value, to be read with KindOf, Float, Int, Bool and String.
func (l Line) EachField() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := l.Fields; len(rest) > 0; {
			var k, v []byte
			k, v, rest = nextField(rest)
			if !yield(unescape(k, `," =`), v) {
				return
			}
		}
	}
}

// nextTag splits the first tag off a sound tag section.
func nextTag(tags []byte) (key, value, rest []byte) {
	eq := indexUnescaped(tags, 0, '=')
	comma := indexUnescaped(tags, eq+1, ',')
	if comma == len(tags) {
		return tags[:eq], tags[eq+1:], nil
	}
	return tags[:eq], tags[eq+1 : comma], tags[comma+1:]
}

// nextField splits the first field off a sound field section where InfluxDB
// splits it when it stores the fields.
func nextField(fields []byte) (key, value, rest []byte) {
	eq := indexUnescaped(fields, 0, '=')
	end := valueEnd(fields, eq+1)
	if end == len(fields) {
		return fields[:eq], fields[eq+1:], nil
	}
	return fields[:eq], fields[eq+1 : end], fields[end+1:]
}

// indexUnescaped returns the place of the first c in b[i:] with no backslash
// right before it, or len(b). A backslash is never itself escaped here.
func indexUnescaped(b []byte, i int, c byte) int {
	for ; i < len(b); i++ {
		if b[i] == c && (i == 0 || b[i-1] != '\\') {
			return i
		}
	}
	return i
}

// valueEnd returns the end of the field value that begins at b[i].
func valueEnd(b []byte, i int) int {
	quoted := false
	for i < len(b) {
		switch {
		case b[i] == '\\' && i+1 < len(b) && (b[i+1] == '"' || b[i+1] == '\\'):
			i++
		case b[i] == '"':
			quoted = !quoted
		case b[i] == ',' && !quoted:
			return i
		}
		i++
	}
	return i
}

func escaped(b []byte) bool { return bytes.IndexByte(b, '\\') >= 0 }

// unescape drops the backslash before each byte of set.
func unescape(b []byte, set string) string {
	if !escaped(b) {
		return string(b)
	}
	return string(appendUnescaped(make([]byte, 0, len(b)), b, set))
}

func appendUnescaped(dst, b []byte, set string) []byte {
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) && within(set, b[i+1]) {
			i++
		}
		dst = append(dst, b[i])
	}
	return dst
}

func within(set string, c byte) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}
