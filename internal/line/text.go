package line

// Text reads the unescaped parts of lines without allocating, but for its own
// buffer. What it returns is valid until it is used again, or the line is
// overwritten. The zero value is ready; one goroutine may use it at a time.
type Text struct{ buf []byte }

// Name returns the unescaped measurement.
func (t *Text) Name(l Line) string { return t.of(l.Measurement, ", ") }

// Tag returns the unescaped value of the tag with the unescaped key.
func (t *Text) Tag(l Line, key string) (value string, ok bool) {
	for rest := l.Tags; len(rest) > 0; {
		var k, v []byte
		k, v, rest = nextTag(rest)
		if t.of(k, ",= ") == key {
			return t.of(v, ",= "), true
		}
	}
	return "", false
}

// of returns b without the backslashes before bytes of set.
func (t *Text) of(b []byte, set string) string {
	if !escaped(b) {
		return view(b)
	}
	t.buf = appendUnescaped(t.buf[:0], b, set)
	return view(t.buf)
}
