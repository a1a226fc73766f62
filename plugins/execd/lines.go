package execd

import (
	"bytes"
	"strconv"
	"time"
)

// lines takes a stream of line protocol apart. It knows just enough of it to
// tell a newline within a string from one that ends a line, and a line with a
// timestamp from one without; everything else is for the host to check.
type lines struct {
	max int // of bytes in one line
	now func() time.Time
	bad func(line []byte, why string)

	held     []byte // of the line under way
	seen     int    // of held
	state    state
	skipping bool // to the next newline
}

// state is where in a line we are, as InfluxDB sees it: quotes count in the
// second word and later, where '=' has come more often than ','.
type state struct {
	words                   int
	inWord, escaped, quoted bool
	comment                 bool
	equals, commas          int
}

// add takes what has been read and returns the lines that are now whole, each
// stamped and ended by a newline.
func (l *lines) add(data []byte) []byte {
	if l.skipping {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			return nil
		}
		data, l.skipping = data[end+1:], false
	}
	l.held = append(l.held, data...)
	var whole []byte
	for {
		whole = l.scan(whole)
		if l.seen <= l.max {
			return whole
		}
		l.giveUp("longer than buffer_size")
	}
}

// rest returns the line that the stream ended in, for the end of a program
// that ended well ends its last line too.
func (l *lines) rest() []byte {
	var whole []byte
	for len(l.held) > 0 && l.state.quoted {
		l.giveUp("a quote is opened and not closed")
		whole = l.scan(whole)
	}
	whole = l.take(whole, l.held)
	l.held, l.seen, l.state = nil, 0, state{}
	return whole
}

// scan moves the whole lines of what is held to dst, up to one that is too long.
func (l *lines) scan(dst []byte) []byte {
	start := 0
	for ; l.seen < len(l.held) && l.seen-start <= l.max; l.seen++ {
		if l.state.next(l.held[l.seen]) {
			dst = l.take(dst, l.held[start:l.seen])
			start, l.state = l.seen+1, state{}
		}
	}
	l.held = l.held[:copy(l.held, l.held[start:])]
	l.seen -= start
	return dst
}

// take adds one line, for which the state stands at its end, to dst.
func (l *lines) take(dst, line []byte) []byte {
	s := l.state
	if s.words == 0 || s.comment {
		return dst
	}
	if s.escaped {
		l.bad(line, "it ends in a backslash")
		return dst
	}
	dst = append(dst, bytes.TrimRight(line, " \r")...)
	if s.words == 2 {
		dst = strconv.AppendInt(append(dst, ' '), l.now().UnixNano(), 10)
	}
	return append(dst, '\n')
}

// giveUp drops the line under way. If that is one because of a quote that
// nobody closed, only its first row is at fault, and what follows is looked at
// anew.
func (l *lines) giveUp(why string) {
	row, rest, more := bytes.Cut(l.held, []byte{'\n'})
	l.bad(row[:min(len(row), l.max)], why)
	l.skipping = !more
	l.held, l.seen, l.state = l.held[:copy(l.held, rest)], 0, state{}
}

// next takes one byte and reports whether it ends the line.
func (s *state) next(c byte) bool {
	switch {
	case c == '\n' && !s.quoted:
		return true
	case s.comment:
	case s.escaped:
		s.escaped = false
	case c == '\\':
		s.escaped = true
		s.word()
	case s.quoted:
		s.quoted = c != '"'
	case c == ' ', c == '\r', c == '\t' && s.words == 0:
		s.inWord = false
	default:
		s.comment = c == '#' && s.words == 0
		s.word()
		s.field(c)
	}
	return false
}

func (s *state) word() {
	if !s.inWord {
		s.inWord = true
		s.words++
	}
}

func (s *state) field(c byte) {
	switch {
	case s.words < 2:
	case c == '=':
		s.equals++
	case c == ',':
		s.commas++
	case c == '"' && s.equals > s.commas:
		s.quoted = true
	}
}
