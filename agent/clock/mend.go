package clock

import (
	"strconv"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// ours is how near to the clock a timestamp must be to be taken from it. What
// is further away comes from elsewhere, such as a program's own source, and is
// right as it is.
const ours = time.Hour

// moved returns the lines of c under the time that has become known. Whole
// seconds keep what is rounded to seconds rounded, two points two, and none in
// the future.
func moved(c chunk, by time.Duration) []byte {
	if whole := by.Truncate(time.Second); whole > by {
		by = whole - time.Second
	} else {
		by = whole
	}
	if by == 0 {
		return c.text
	}
	return edit(c.text, &line.Edit{}, func(l *line.Line) {
		nano, err := strconv.ParseInt(string(l.Timestamp), 10, 64)
		if err != nil || (time.Duration(nano)-c.wall).Abs() > ours {
			return
		}
		l.Timestamp = strconv.AppendInt(nil, nano+int64(by), 10)
	})
}

// tagged returns lines that say that their time may be wrong.
func tagged(text []byte) []byte {
	return edit(text, &line.Edit{Tags: []line.Tag{{Key: TagKey, Value: TagValue}}}, func(*line.Line) {})
}

// edit makes every line of a sound text anew.
func edit(text []byte, e *line.Edit, change func(*line.Line)) []byte {
	out := make([]byte, 0, len(text)+len(text)/8)
	for len(text) > 0 {
		l, rest, err := line.Cut(text)
		if err != nil { // the collectors' lines were checked before
			return append(out, text...)
		}
		change(&l)
		out = e.Append(out, l)
		text = rest
	}
	return out
}
