package line

import "fmt"

// maxKey is the most bytes that measurement and tags, with a field key and a
// separator of four bytes, may have together.
const (
	maxKey         = 65535
	fieldSeparator = 4
)

const reasonRange = "time outside range -9223372036854775806 - 9223372036854775806"

// Reasons of our own: InfluxDB accepts these lines, to somebody's harm.
const (
	// The line is sound alone, but an open quote or a backslash at its end
	// would take in whatever line is joined after it.
	reasonSwallows = "open quote or trailing backslash would swallow the next line"

	// The same in a comment.
	reasonComment = "open quote or trailing backslash in a comment would swallow the next line"

	// After a newline inside the line InfluxDB ignores all that follows.
	reasonIgnored = "text after the fields would be ignored"

	// InfluxDB sees an empty field key only after a single space or comma.
	reasonNoKey = "field without a key"

	// The fields are divided differently when they are checked and when they
	// are stored; storing this one fails for ever, or ends the server.
	reasonUnreadable = "field value would be unreadable when stored"
)

// Stricter reports whether reason is one of this package's own: InfluxDB 1.x
// would accept the line.
func Stricter(reason string) bool {
	switch reason {
	case reasonSwallows, reasonComment, reasonIgnored, reasonNoKey, reasonUnreadable:
		return true
	}
	return false
}

func keyTooLong(n int) string { return fmt.Sprintf("max key length exceeded: %d > %d", n, maxKey) }
