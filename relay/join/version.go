package join

import (
	"cmp"
	"strings"
)

// compareVersions orders versions of packages as Debian does, as far as they are
// ours: numbers by their value, a tilde before the end.
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		textA, textB := leading(a, notDigit), leading(b, notDigit)
		if c := compareText(textA, textB); c != 0 {
			return c
		}
		a, b = a[len(textA):], b[len(textB):]
		numA, numB := leading(a, digit), leading(b, digit)
		a, b = a[len(numA):], b[len(numB):]
		numA, numB = strings.TrimLeft(numA, "0"), strings.TrimLeft(numB, "0")
		if c := cmp.Or(cmp.Compare(len(numA), len(numB)), strings.Compare(numA, numB)); c != 0 {
			return c
		}
	}
	return 0
}

func digit(c byte) bool    { return '0' <= c && c <= '9' }
func notDigit(c byte) bool { return !digit(c) }

// leading is the part at the beginning all of whose characters are in a class.
func leading(s string, in func(byte) bool) string {
	i := 0
	for i < len(s) && in(s[i]) {
		i++
	}
	return s[:i]
}

func compareText(a, b string) int {
	for i := range max(len(a), len(b)) {
		if c := cmp.Compare(weight(a, i), weight(b, i)); c != 0 {
			return c
		}
	}
	return 0
}

// weight is where a character stands: a tilde, the end, letters, all others.
func weight(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case 'A' <= s[i] && s[i] <= 'Z', 'a' <= s[i] && s[i] <= 'z':
		return int(s[i])
	}
	return int(s[i]) + 256
}
