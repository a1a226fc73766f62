package nodefile

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// place is where something is written, counted from 1.
type place struct{ line, column int }

// positions maps the path of a key or table to its place. The
// elements of an array of tables carry their index: inputs cpu 0 percpu.
//
// The TOML library tells where a syntax error is but not where a key is, so
// this reads the text again, and only as much of it as that needs: headers,
// keys, and where values end. Text that the library has accepted is assumed.
type positions map[string]place

// maxDepth bounds how many names and brackets are within each other. The TOML
// library needs memory with the square of it, gigabytes for a file of 40 KB.
const maxDepth = 32

func joinPath(path []string) string { return strings.Join(path, "\x00") }

func (p positions) of(path ...string) place { return p[joinPath(path)] }

// near is the place of path, or of what it is in if that alone is known.
func (p positions) near(path []string) place {
	for ; len(path) > 0; path = path[:len(path)-1] {
		if at := p.of(path...); at.line > 0 {
			return at
		}
	}
	return place{}
}

// note records the first place at which path, or something in it, is written.
func (p positions) note(path []string, at place) {
	for n := 1; n <= len(path); n++ {
		if key := joinPath(path[:n]); p[key] == (place{}) {
			p[key] = at
		}
	}
}

type locator struct {
	text   string
	rest   string // of text, not read yet
	line   int
	found  positions
	counts map[string]int // elements so far of each array of tables
	table  []string       // the table we are in
	deep   place          // where maxDepth is exceeded: nothing is read after it
}

// locate finds the keys of text, and where it is too deep, if it is.
func locate(text string) (found positions, deep place) {
	l := &locator{text: text, rest: text, line: 1, found: positions{}, counts: map[string]int{}}
	for l.rest != "" && l.deep == (place{}) {
		l.skip(" \t\r\n")
		switch {
		case l.rest == "":
		case l.rest[0] == '#':
			l.skipLine()
		case l.rest[0] == '[':
			l.header()
			l.skipLine()
		default:
			at := l.here()
			path := append(l.table[:len(l.table):len(l.table)], l.key("=")...)
			if len(path) > maxDepth {
				return l.found, at
			}
			l.found.note(path, at)
			l.value(len(path))
		}
	}
	return l.found, l.deep
}

// here is the place of what comes next.
func (l *locator) here() place {
	return place{l.line, column(l.text[:len(l.text)-len(l.rest)])}
}

// placeOf is the place of the byte at an offset.
func placeOf(text string, offset int) place {
	read := text[:min(max(offset, 0), len(text))]
	return place{strings.Count(read, "\n") + 1, column(read)}
}

func column(read string) int {
	return utf8.RuneCountInString(read[strings.LastIndexByte(read, '\n')+1:]) + 1
}

// advance moves past n bytes, counting lines.
func (l *locator) advance(n int) {
	n = min(n, len(l.rest))
	l.line += strings.Count(l.rest[:n], "\n")
	l.rest = l.rest[n:]
}

func (l *locator) skip(set string) {
	l.advance(len(l.rest) - len(strings.TrimLeft(l.rest, set)))
}

func (l *locator) skipLine() {
	n := strings.IndexByte(l.rest, '\n')
	if n < 0 {
		n = len(l.rest) - 1
	}
	l.advance(n + 1)
}

// header reads [a.b] or [[a.b]] and makes it the current table.
func (l *locator) header() {
	at := l.here()
	array := strings.HasPrefix(l.rest, "[[")
	l.advance(1)
	if array {
		l.advance(1)
	}
	names := l.key("]")
	l.table = nil
	if len(names) > maxDepth {
		l.deep = at
		return
	}
	for i, name := range names {
		l.table = append(l.table, name)
		id := joinPath(l.table)
		if array && i == len(names)-1 {
			l.counts[id]++
		}
		if n := l.counts[id]; n > 0 {
			l.found.note(l.table, at)
			l.table = append(l.table, strconv.Itoa(n-1))
		}
	}
	l.found.note(l.table, at)
}

// key reads a dotted key up to and including the byte end.
func (l *locator) key(end string) []string {
	var names []string
	for l.rest != "" {
		l.skip(" \t.")
		switch {
		case strings.HasPrefix(l.rest, end):
			l.advance(1)
			return names
		case l.rest == "" || l.rest[0] == '\n':
			return names
		case l.rest[0] == '"' || l.rest[0] == '\'':
			n := stringLen(l.rest)
			names = append(names, l.rest[1:max(1, n-1)])
			l.advance(n)
		default:
			n := strings.IndexAny(l.rest, " \t.\n"+end)
			if n < 0 {
				n = len(l.rest)
			}
			names = append(names, l.rest[:n])
			l.advance(n)
		}
	}
	return names
}

// value skips a value: to the end of its line, or beyond where an array, an
// inline table or a multi-line string goes on. It is so deep in the file already.
func (l *locator) value(above int) {
	var open []int // how deep each bracket is in the one before
	dots := 0      // of the key or number that was come to
	for l.rest != "" {
		if above+dots > maxDepth {
			l.deep = l.here()
			return
		}
		switch c := l.rest[0]; c {
		case '"', '\'':
			l.advance(stringLen(l.rest))
			continue
		case '#':
			if n := strings.IndexByte(l.rest, '\n'); n >= 0 {
				l.advance(n)
				continue
			}
			l.rest = ""
			return
		case '.':
			dots++
		case ',':
			dots = 0
		case '[', '{':
			open = append(open, dots+1)
			above, dots = above+dots+1, 0
		case ']', '}':
			dots = 0
			if n := len(open) - 1; n >= 0 {
				above, open = above-open[n], open[:n]
			}
		case '\n':
			dots = 0
			if len(open) == 0 {
				l.advance(1)
				return
			}
		}
		l.advance(1)
	}
}

// stringLen is the length of the string literal that s begins with, its
// quotes included.
func stringLen(s string) int {
	quote := s[:1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s, triple) {
		quote = triple
	}
	for i := len(quote); i < len(s); i++ {
		if s[i] == '\\' && quote[0] == '"' {
			i++
			continue
		}
		if strings.HasPrefix(s[i:], quote) {
			end := i + len(quote)
			for len(quote) == 3 && end < len(s) && s[end] == quote[0] {
				end++ // up to two quotes may stand before the closing three
			}
			return end
		}
	}
	return len(s)
}
