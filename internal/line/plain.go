package line

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// The plain path: nearly every line is measurement, tags, fields and timestamp
// with nothing odd about them. InfluxDB's several readings of such a line
// agree, so one pass over it, eight bytes at a time, is enough. At the first
// byte that is not plain it gives up, and the line is read again the way
// InfluxDB reads it (parse.go). Only that way finds faults.

// plain reads the line that begins at b[i], if it is a plain one, and returns
// where the next one begins.
func (p *parser) plain(b []byte, i int) (next int, ok bool) {
	at := &p.at
	at.start, at.node, at.nodeEnd = i, 0, 0
	i, c := p.plainKey(b, i)
	if c != ' ' {
		return i, false
	}
	at.key, at.fields = i, i+1
	i, c = plainFields(b, i+1)
	if c == 0 || i-at.start+fieldSeparator > maxKey {
		return i, false
	}
	at.fieldsEnd, at.stamp = i, i
	if c == ' ' {
		at.stamp = i + 1
		if i, ok = p.plainStamp(b, i+1); !ok {
			return i, false
		}
	}
	at.stampEnd, at.end = i, i
	return i + 1, true
}

// plainKey reads the measurement and the tags and returns their end and the
// byte there: a space if they are plain.
func (p *parser) plainKey(b []byte, i int) (end int, c byte) {
	if c := b[i]; c <= ' ' || c == '#' || c == ',' {
		return i, 0
	}
	i, c = endOfWord(b, i)
	for c == '=' {
		i, c = endOfWord(b, i+1)
	}
	p.at.name = i
	sorted := true
	for last := []byte(nil); c == ','; {
		start := i + 1
		if i, c = endOfWord(b, start); c != '=' || i == start {
			return i, 0
		}
		key := b[start:i]
		sorted = sorted && (last == nil || less(last, key))
		last = key
		value := i + 1
		if i, c = endOfWord(b, value); b[i-1] == '=' {
			return i, 0
		}
		if p.named && len(key) == len("host") {
			p.at.noteNode(key, value, i)
		}
	}
	if !sorted && p.duplicateTags(b[p.at.name+1:i]) {
		return i, 0
	}
	return i, c
}

// less is bytes.Compare(a, b) < 0 for keys that mostly differ at once.
func less(a, b []byte) bool {
	if a[0] != b[0] {
		return a[0] < b[0]
	}
	return bytes.Compare(a, b) < 0
}

// plainFields reads the fields and returns their end and the byte there: a
// space if a timestamp follows, a newline if the line ends, 0 if they are not
// plain.
func plainFields(b []byte, i int) (end int, c byte) {
	for {
		key := i
		if i, c = endOfWord(b, key); c != '=' || i == key {
			return i, 0
		}
		if i, c = plainValue(b, i+1); c != ',' {
			return i, c
		}
		i++
	}
}

// plainValue reads a field value and returns its end and the byte there: a
// comma, a space or a newline, 0 if it is not plain.
func plainValue(b []byte, i int) (end int, c byte) {
	start := i
	switch w := word(b, i); {
	case byte(w) == '-':
		i++
	case byte(w)-'0' > 9:
		return otherValue(b, i)
	case byte(w>>8) == ',': // one digit: most readings of an idle machine
		return i + 1, ','
	}
	i, c = digitsEnd(b, i)
	switch {
	case c == '.':
		i, c = digitsEnd(b, i+1)
	case c == 'i' && i-start < maxIntDigits && b[i-1] != '-':
		i++
		if c = byteAt(b, i); ends(c) {
			return i, c
		}
	}
	if !ends(c) || b[i-1] < '0' || i-start >= maxFloatDigits {
		return otherValue(b, start)
	}
	return i, c
}

func ends(c byte) bool { return c == ',' || c == ' ' || c == '\n' }

// digitsEnd returns the end of the digits that begin at b[i], and the byte
// there.
func digitsEnd(b []byte, i int) (end int, c byte) {
	for {
		w := word(b, i)
		if m := nonDigits(w); m != 0 {
			n := bits.TrailingZeros64(m) &^ 7
			return i + n>>3, byte(w >> n)
		}
		i += 8
	}
}

// otherValue is plainValue for strings, booleans and unusual numbers.
func otherValue(b []byte, i int) (end int, c byte) {
	if i == len(b) {
		return i, 0
	}
	if b[i] == '"' {
		if end = stringEnd(b, i+1); end < 0 {
			return i, 0
		}
	} else {
		for end = i; end < len(b) && !ends(b[end]); {
			end++
		}
		switch v := b[i:end]; {
		case len(v) == 0:
			return end, 0
		case isNumeric(v[0]) || v[0] == '-':
			if checkNumber(v) != "" {
				return end, 0
			}
		case checkBool(v) != "":
			return end, 0
		}
	}
	if c = byteAt(b, end); !ends(c) {
		c = 0
	}
	return end, c
}

// stringEnd returns the place after the quote that closes the string whose
// content begins at b[i], or -1 if there is none.
func stringEnd(b []byte, i int) int {
	for quote := i - 1; ; {
		if quote < i {
			n := bytes.IndexByte(b[i:], '"')
			if n < 0 {
				return -1
			}
			quote = i + n
		}
		n := bytes.IndexByte(b[i:quote], '\\')
		if n < 0 {
			return quote + 1
		}
		i += n + 2 // at most one past the quote
	}
}

// plainStamp reads a timestamp that ends the line. It leaves those near the
// limit of the precision to the exact reading.
func (p *parser) plainStamp(b []byte, i int) (end int, ok bool) {
	if byteAt(b, i) == '-' {
		i++
	}
	end, c := digitsEnd(b, i)
	n := end - i
	if c != '\n' || n == 0 || n > p.limitDigits || (n == p.limitDigits && b[i] >= p.limitFirst) {
		return end, false
	}
	return end, true
}

// endOfWord returns the place of the first byte at or after b[i] that ends a
// plain word, and that byte. At the end of b stands a newline.
func endOfWord(b []byte, i int) (end int, c byte) {
	for {
		w := word(b, i)
		m := special(w)
		if m == 0 {
			i += 8
			continue
		}
		n := bits.TrailingZeros64(m) &^ 7
		i += n >> 3
		switch c = byte(w >> n); {
		case c == '\\' && hideable(byteAt(b, i+1)):
			i += 2
		case c <= ' ' || c == ',' || c == '=' || c == '\\':
			return i, c
		default:
			i++
		}
	}
}

// hideable reports whether every reading agrees that a backslash hides c.
func hideable(c byte) bool { return c >= ' ' && c != '\\' }

// byteAt returns b[i], or a newline at the end of b.
func byteAt(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return '\n'
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// word returns the eight bytes at b[i:], with newlines after the end of b.
func word(b []byte, i int) uint64 {
	if rest := b[i:]; len(rest) >= 8 {
		return binary.LittleEndian.Uint64(rest)
	}
	return lastWord(b, i)
}

func lastWord(b []byte, i int) uint64 {
	w := uint64('\n' * ones)
	for j := len(b) - 1; j >= i; j-- {
		w = w<<8 | uint64(b[j])
	}
	return w
}

// special marks, with the high bit of the byte, bytes below '-', '=' and '\\'.
// Above the lowest mark there may be false ones.
func special(w uint64) uint64 {
	eq := w ^ '='*ones
	esc := w ^ '\\'*ones
	return ((w-'-'*ones)&^w | (eq-ones)&^eq | (esc-ones)&^esc) & highs
}

// nonDigits marks, with the high bit of the byte, what is not a digit.
func nonDigits(w uint64) uint64 {
	w ^= '0' * ones
	return ((w&^highs + 0x76*ones) | w) & highs
}
