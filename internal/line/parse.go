package line

import (
	"bytes"
	"slices"
	"strconv"
)

// found is what the parser found at one place of a body.
type found uint8

const (
	nothing found = iota // a blank line or a comment
	sound
	unsound
)

// layout says where in the body the parts of a line lie.
type layout struct {
	start     int // of the measurement
	name      int // end of the measurement
	key       int // end of the measurement and the tags
	fields    int // start of the fields
	fieldsEnd int
	node      int // start of the value of the tag that names the node, where that is asked for
	nodeEnd   int // its end; 0 if there is none
	stamp     int // start of the timestamp
	stampEnd  int // its end; equal to stamp if there is none
	end       int // of the line, without its newline
}

// cut returns the parts of the line.
func (at *layout) cut(b []byte) Line {
	l := Line{
		Measurement: b[at.start:at.name],
		Fields:      b[at.fields:at.fieldsEnd],
		Timestamp:   b[at.stamp:at.stampEnd],
	}
	if at.name < at.key {
		l.Tags = b[at.name+1 : at.key]
	}
	return l
}

// parser reads one line after the other. Its result is in at.
type parser struct {
	limit       int64 // largest timestamp, and smallest but for the sign
	limitDigits int   // its number of digits
	limitFirst  byte  // its first digit
	at          layout
	tags        [][]byte // scratch: tag keys
	named       bool     // also find the node of each line
}

// setLimit sets the largest timestamp.
func (p *parser) setLimit(limit int64) {
	p.limit, p.limitDigits = limit, 1
	for ; limit > 9; limit /= 10 {
		p.limitDigits++
	}
	p.limitFirst = '0' + byte(limit)
}

// line reads the line that begins at body[i] and returns where the next one
// begins: beyond the end of body after a line without newline. The reason is set for an unsound line only.
func (p *parser) line(body []byte, i int) (next int, what found, reason string) {
	if next, ok := p.plain(body, i); ok {
		return next, sound, ""
	}
	return p.exact(body, i)
}

// exact is line without the short way for plain lines.
func (p *parser) exact(body []byte, i int) (next int, what found, reason string) {
	end, _ := lineEnd(body, i, 0)
	next = end + 1
	start := skipSpace(body[:end], i)
	if start == end {
		return next, nothing, ""
	}
	p.at.start, p.at.end = start, end
	if body[end-1] == '\n' { // the body ended inside quotes
		p.at.end--
	}
	if body[start] == '#' {
		if !selfContained(body[i:p.at.end]) {
			return next, unsound, reasonComment
		}
		return next, nothing, ""
	}
	if reason = p.parse(body[:p.at.end]); reason == "" {
		reason = p.judge(body, i)
	}
	if reason != "" {
		return next, unsound, reason
	}
	if p.named {
		p.at.findNode(body)
	}
	return next, sound, ""
}

// lineEnd returns where InfluxDB ends the line that begins at b[i]: at its
// newline or at the end of b. InfluxDB decides this before it parses the line,
// by a rougher reading: every unescaped space begins the fields, so quotes
// count from there on wherever '=' has been seen more often than ','. ahead is
// the number of bytes that are taken to follow b.
func lineEnd(b []byte, i, ahead int) (end int, quoted bool) {
	if end = len(b); i < end {
		if n := bytes.IndexByte(b[i:], '\n'); n >= 0 {
			end = i + n
		}
		if s := b[i:end]; bytes.IndexByte(s, '"') < 0 && bytes.IndexByte(s, '\\') < 0 {
			return end, false
		}
	}
	inFields, equals, commas := false, 0, 0
	for i < len(b) {
		switch c := b[i]; {
		case c == '\\' && i+2 < len(b)+ahead:
			i++
		case c == ' ':
			inFields = true
		case c == '=' && inFields && !quoted:
			equals++
		case c == ',' && inFields && !quoted:
			commas++
		case c == '"' && inFields && equals > commas:
			quoted = !quoted
		case c == '\n' && !quoted:
			return i, false
		}
		i++
	}
	return i, quoted
}

// selfContained reports whether a newline after line would end it, whatever
// follows.
func selfContained(line []byte) bool {
	end, quoted := lineEnd(line, 0, 2)
	return end == len(line) && !quoted
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == 0) {
		i++
	}
	return i
}

// parse reads the line b[p.at.start:] as InfluxDB does and returns InfluxDB's
// reason if it is not sound.
func (p *parser) parse(b []byte) (reason string) {
	if reason = p.parseKey(b); reason != "" {
		return reason
	}
	if n := p.at.key - p.at.start; n > maxKey {
		return keyTooLong(n)
	}
	p.at.fields = skipSpace(b, p.at.key)
	if p.at.fieldsEnd, reason = fieldsEnd(b, p.at.fields); reason != "" {
		return reason
	}
	if reason = p.walkFields(b); reason != "" {
		return reason
	}
	return p.parseStamp(b)
}

// parseKey reads the measurement and the tags.
func (p *parser) parseKey(b []byte) (reason string) {
	if b[p.at.start] == ',' {
		return "missing measurement"
	}
	i := p.at.start + 1
	for i < len(b) && (b[i-1] == '\\' || (b[i] != ',' && b[i] != ' ')) {
		i++
	}
	p.at.name = i
	for i < len(b) && b[i] == ',' {
		if i, reason = tagEnd(b, i+1); reason != "" {
			return reason
		}
	}
	if i >= len(b) {
		return "missing fields"
	}
	if p.at.key = i; p.at.key > p.at.name && p.duplicateTags(b[p.at.name+1:i]) {
		return "duplicate tags"
	}
	return ""
}

// tagEnd returns the end of the tag that begins at b[i].
func tagEnd(b []byte, i int) (end int, reason string) {
	if i >= len(b) || b[i] == ' ' || b[i] == ',' || b[i] == '=' {
		return i, "missing tag key"
	}
	for i++; ; i++ {
		if i >= len(b) || ((b[i] == ' ' || b[i] == ',') && b[i-1] != '\\') {
			return i, "missing tag value"
		}
		if b[i] == '=' && b[i-1] != '\\' {
			break
		}
	}
	i++
	if i >= len(b) || b[i] == ',' || b[i] == ' ' {
		return i, "missing tag value"
	}
	for i++; i < len(b); i++ {
		if b[i-1] == '\\' {
			continue
		}
		switch b[i] {
		case '=':
			return i, "invalid tag format"
		case ',', ' ':
			return i, ""
		}
	}
	return i, ""
}

// duplicateTags reports whether a key occurs twice in a tag section. Sorted
// tags, the usual case, are told in one pass.
func (p *parser) duplicateTags(tags []byte) bool {
	p.tags = p.tags[:0]
	sorted := true
	for len(tags) > 0 {
		var key []byte
		key, _, tags = nextTag(tags)
		if n := len(p.tags); n > 0 && bytes.Compare(p.tags[n-1], key) >= 0 {
			sorted = false
		}
		p.tags = append(p.tags, key)
	}
	if sorted {
		return false
	}
	slices.SortFunc(p.tags, bytes.Compare)
	for i := 1; i < len(p.tags); i++ {
		if bytes.Equal(p.tags[i-1], p.tags[i]) {
			return true
		}
	}
	return false
}

// parseStamp reads what follows the fields.
func (p *parser) parseStamp(b []byte) (reason string) {
	i := skipSpace(b, p.at.fieldsEnd)
	p.at.stamp = i
	if i < len(b) && b[i] == '-' {
		i++
	}
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	p.at.stampEnd = i
	if i < len(b) && b[i] != ' ' && b[i] != '\n' {
		return "bad timestamp"
	}
	if p.at.stamp == i {
		return "" // InfluxDB does not look at what may follow
	}
	t, err := strconv.ParseInt(string(b[p.at.stamp:i]), 10, 64)
	switch {
	case err != nil:
		return err.Error()
	case t > p.limit || t < -p.limit:
		return reasonRange
	case len(bytes.TrimLeft(b[i:], " ")) > 0:
		return "point is invalid"
	}
	return ""
}
