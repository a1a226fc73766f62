package line

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// Error says why a line is not sound, in InfluxDB's words.
type Error struct {
	Text   []byte // the line, aliasing what was cut
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("unable to parse '%s': %s", e.Text, e.Reason) }

// Cut cuts the next line off b, skipping blank lines and comments. At the end
// of b err is io.EOF; any other error is an *Error about a bad line, and rest
// continues after it. The precision being unknown here, a timestamp need only
// fit an int64.
func Cut(b []byte) (l Line, rest []byte, err error) {
	var p parser
	p.setLimit(math.MaxInt64)
	for i := 0; i < len(b); {
		next, what, reason := p.line(b, i)
		rest = b[min(next, len(b)):]
		switch what {
		case sound:
			return p.at.cut(b), rest, nil
		case unsound:
			return Line{}, rest, &Error{b[p.at.start:p.at.end], reason}
		}
		i = next
	}
	return Line{}, nil, io.EOF
}

// AppendSound appends the sound lines of body to dst, each ended by a newline
// and all of them stamped in nanoseconds: timestamps are converted from p, and
// lines without one get nowUnixNano, which the caller has truncated to p. Bad
// lines, comments and blank lines are left out. r is the report of a scan of
// body with p.
func AppendSound(dst, body []byte, r Report, p Precision, nowUnixNano int64) []byte {
	const longestStamp = len(" -9223372036854775806")
	dst = slices.Grow(dst, len(body)+1+r.Lines*longestStamp)
	eachSound(body, r, p, func(at *layout) {
		dst = append(dst, body[at.start:at.fieldsEnd]...)
		dst = append(dst, ' ')
		dst = appendNano(dst, body[at.stamp:at.stampEnd], p, nowUnixNano)
		dst = append(dst, '\n')
	})
	return dst
}

// appendNano appends the timestamp stamp, counted in p, as nanoseconds, or
// now if it is empty.
func appendNano(dst, stamp []byte, p Precision, now int64) []byte {
	switch {
	case len(stamp) == 0:
		return strconv.AppendInt(dst, now, 10)
	case p == Nanosecond:
		return append(dst, stamp...)
	}
	t, _ := strconv.ParseInt(view(stamp), 10, 64) // the parser has seen to it
	if p == Auto {
		p = guess(t)
	}
	return strconv.AppendInt(dst, t*int64(p.Duration()), 10)
}
