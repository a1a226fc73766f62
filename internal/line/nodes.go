package line

import "bytes"

// Nodes says whose lines a body may hold. The node of a line is its tag host,
// else its tag node. Several scanners may share one.
type Nodes struct {
	// Allowed reports whether lines of the node may be written. It must not
	// keep name.
	Allowed func(name string) bool
	// Tolerate leaves all other lines sound: they are only counted.
	Tolerate bool
	// Other is the reason why the line of another node is not sound, Nameless
	// that of a line that names none.
	Other, Nameless string
}

// noteNode remembers a tag's value as the node of the line, if it is that.
func (at *layout) noteNode(key []byte, value, end int) {
	switch string(key) {
	case "host":
		at.node, at.nodeEnd = value, end
	case "node":
		if at.nodeEnd == 0 {
			at.node, at.nodeEnd = value, end
		}
	}
}

// findNode looks for the node of a line that has been read exactly.
func (at *layout) findNode(b []byte) {
	at.node, at.nodeEnd = 0, 0
	if at.name >= at.key {
		return
	}
	for rest, i := b[at.name+1:at.key], at.name+1; len(rest) > 0; {
		key, value, next := nextTag(rest)
		start := i + len(key) + 1
		at.noteNode(key, start, start+len(value))
		i += len(rest) - len(next)
		rest = next
	}
}

// verdict is what Nodes says of one node; most bodies are of one alone.
type verdict struct {
	value   []byte // as it stands in the body
	allowed bool
}

// foreign reports why the line that was just read may not be written; empty if
// it may.
func (s *Scanner) foreign(body []byte, n *Nodes, last *verdict) (reason string) {
	at := &s.parser.at
	if at.nodeEnd == 0 {
		return n.Nameless
	}
	value := body[at.node:at.nodeEnd]
	if last.value == nil || !bytes.Equal(value, last.value) {
		*last = verdict{value, n.Allowed(s.text.of(value, ",= "))}
	}
	if last.allowed {
		return ""
	}
	return n.Other
}

// AppendOwned appends body to dst with every sound line that nodes does not
// allow made one of the node called name: the value of the tag that names its
// node is replaced, and a line that names none gets the tag host. Every other
// byte stays as it is. What is appended must be scanned again, as a name may be
// too long for a line.
func AppendOwned(dst, body []byte, p Precision, nodes *Nodes, name string) []byte {
	var s Scanner
	s.parser.named = true
	s.parser.setLimit(p.limit())
	var last verdict
	for i := 0; i < len(body); {
		next, what, _ := s.parser.line(body, i)
		next = min(next, len(body))
		at := &s.parser.at
		switch {
		case what != sound || s.foreign(body, nodes, &last) == "":
			dst = append(dst, body[i:next]...)
		case at.nodeEnd > 0:
			dst = append(dst, body[i:at.node]...)
			dst = appendEscaped(dst, name, ",= ")
			dst = append(dst, body[at.nodeEnd:next]...)
		default:
			dst = append(dst, body[i:at.name]...)
			start := len(dst)
			dst = append(dst, body[at.name:at.key]...)
			dst = insertTag(dst, start, Tag{"host", name}, sortedTags(dst[min(start+1, len(dst)):]))
			dst = append(dst, body[at.key:next]...)
		}
		i = next
	}
	return dst
}

// EachKey calls fn with the key (measurement and tags, as they stand there) of
// every sound line of body. r is the report of a scan of body with p.
func EachKey(body []byte, r Report, p Precision, fn func(key []byte)) {
	eachSound(body, r, p, func(at *layout) { fn(body[at.start:at.key]) })
}

// eachSound calls fn for every line of body that is not among the bad ones.
func eachSound(body []byte, r Report, p Precision, fn func(at *layout)) {
	var parse parser
	parse.setLimit(p.limit())
	bad := r.Bad
	for i := 0; i < len(body); {
		next, what, _ := parse.line(body, i)
		switch {
		case what == nothing:
		case len(bad) > 0 && bad[0].Start == parse.at.start:
			bad = bad[1:]
		case what == sound:
			fn(&parse.at)
		}
		i = next
	}
}
