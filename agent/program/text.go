package program

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// shorten cuts s to about max bytes, at the end of a character.
func shorten(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max] + "…"
}

// printable is s as it may be shown on a terminal and in a log: at most max
// bytes, and nothing in it that moves the cursor or rings a bell.
func printable(s string, max int) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, shorten(s, max))
}

// oneLine is printable without its ends of lines.
func oneLine(s string, max int) string {
	return strings.Join(strings.Fields(printable(s, max)), " ")
}

// maxLogText bounds the text of one log entry, its attributes included.
const maxLogText = 4 << 10

// entryText makes an entry of a plugin's log fit for the agent's: what goes
// beyond maxLogText is left out. size is what is left.
func entryText(msg string, args []any) (text string, kept []any, size int) {
	text = printable(msg, maxLogText/4)
	size = len(text)
	for i := 0; i+1 < len(args); i += 2 {
		key, value := printable(fmt.Sprint(args[i]), 100), args[i+1]
		switch value.(type) {
		case nil, bool, float64:
			size += 10
		default:
			s := printable(fmt.Sprint(value), maxLogText/2)
			value, size = s, size+len(s)
		}
		if size += len(key); size > maxLogText {
			return text, append(kept, "more", "left out"), size
		}
		kept = append(kept, key, value)
	}
	return text, kept, size
}
