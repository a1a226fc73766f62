package influxql

import "strings"

// Reads reports whether a text of InfluxQL, whatever its statements are, does
// nothing but read. If it may do more, what names the first word that says so. A
// text that InfluxDB would refuse may be said to be either.
func Reads(text string) (ok bool, what string) {
	if strings.IndexByte(text, 0) >= 0 {
		return false, "a NUL" // to InfluxDB an end, of comments too, behind which it goes on
	}
	s := scanner{text: text, first: true}
	for s.next() {
		switch upper := strings.ToUpper(s.token); {
		case s.token == ";":
			s.first = true
			continue
		case s.first && s.kind == word && upper != "SELECT" && upper != "SHOW" && upper != "EXPLAIN",
			s.kind == word && upper == "INTO":
			return false, upper
		case s.first && s.kind != word:
			return false, s.token
		}
		s.first = false
	}
	return !s.open, "an open quote or comment"
}

// scanner finds the words of InfluxQL, and passes over what is quoted, whatever
// it holds. It must not take for quoted what InfluxDB does not.
type scanner struct {
	text  string
	at    int
	first bool // the next token begins a statement
	open  bool // the text ended inside quotes, a comment or a pattern

	kind  tokenKind
	token string
}

// next reads the next token, if there is one.
func (s *scanner) next() bool {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		switch c := rest[0]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			s.at++
			continue
		case strings.HasPrefix(rest, "--"):
			if n := strings.IndexAny(rest, "\r\n"); n >= 0 { // InfluxDB reads either as a newline
				s.at += n
			} else {
				s.at = len(s.text)
			}
			continue
		case strings.HasPrefix(rest, "/*"):
			s.take(symbol, s.end(2, "*/"))
			continue
		case c == '\'' || c == '"':
			s.take(quoted, s.end(1, string(c)))
		case c == '/' && s.patternMayBegin():
			s.take(quoted, s.end(1, "/"))
		case strings.HasPrefix(rest, "=~") || strings.HasPrefix(rest, "!~"):
			s.take(symbol, 2)
		case digit(c) || c == '.' && len(rest) > 1 && digit(rest[1]):
			s.take(number, numberLength(rest))
		case c == '$': // a parameter may have the name of a keyword and is none
			s.take(quoted, 1+span(rest[1:], wordByte))
		case wordByte(c):
			s.take(word, span(rest, wordByte))
		default:
			s.take(symbol, 1)
		}
		return true
	}
	return false
}

func (s *scanner) take(kind tokenKind, n int) {
	comment := strings.HasPrefix(s.text[s.at:], "/*")
	if !comment {
		s.kind, s.token = kind, s.text[s.at:s.at+n]
	}
	s.at += n
}

// end returns the length of what begins here with a mark of from bytes and ends
// with mark. In quotes and patterns a backslash hides the byte that follows.
func (s *scanner) end(from int, mark string) int {
	rest := s.text[s.at:]
	for n := from; n < len(rest); n++ {
		if rest[n] == '\\' && mark != "*/" && (mark != "/" || strings.HasPrefix(rest[n+1:], mark)) {
			n++
			continue
		}
		if strings.HasPrefix(rest[n:], mark) {
			return n + len(mark)
		}
	}
	s.open = true
	return len(rest)
}

// patternMayBegin reports whether a slash begins a regular expression: it divides
// only after an operand, and these stand after none.
func (s *scanner) patternMayBegin() bool {
	switch strings.ToUpper(s.token) {
	case ",", "(", ".", "=~", "!~":
		return s.kind == symbol
	case "SELECT", "FROM", "BY", "IN", "DISTINCT":
		return s.kind == word
	}
	return false
}

// numberLength returns the length of a number or a duration. A word may follow
// without a space on a number that has a point.
func numberLength(text string) int {
	n := span(text, digit)
	if strings.HasPrefix(text[n:], ".") {
		return n + 1 + span(text[n+1:], digit)
	}
	return span(text, wordByte)
}

// span returns how many bytes at the beginning of a text are of a class.
func span(text string, class func(byte) bool) int {
	n := 0
	for n < len(text) && class(text[n]) {
		n++
	}
	return n
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func wordByte(c byte) bool {
	return c == '_' || digit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
