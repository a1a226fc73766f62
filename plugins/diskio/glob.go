package diskio

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// matcher tells the names that one of the patterns stands for. As in Telegraf,
// they are plain names unless one of them has a *, a ? or a [; then all of them
// may also have {this,that} and a backslash before what shall stand for itself.
func matcher(patterns []string) (func(name string) bool, error) {
	if !slices.ContainsFunc(patterns, special) {
		return func(name string) bool { return slices.Contains(patterns, name) }, nil
	}
	var all []string
	for _, p := range patterns {
		text := expression(p)
		if _, err := regexp.Compile(text); err != nil {
			return nil, fmt.Errorf("%q is not a pattern: a bracket is not closed", p)
		}
		all = append(all, text)
	}
	re, err := regexp.Compile("^(?s:" + strings.Join(all, "|") + ")$")
	if err != nil {
		return nil, err
	}
	return re.MatchString, nil
}

func special(pattern string) bool { return strings.ContainsAny(pattern, "*?[") }

// expression writes a pattern as a regular expression.
func expression(pattern string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteByte('.')
		case c == '[':
			set, rest, closed := strings.Cut(pattern[i+1:], "]")
			if !closed {
				return "[" // no expression
			}
			b.WriteString(class(set))
			i = len(pattern) - len(rest) - 1
		case c == '{':
			depth++
			b.WriteString("(?:")
		case c == '}' && depth > 0:
			depth--
			b.WriteByte(')')
		case c == ',' && depth > 0:
			b.WriteByte('|')
		case c == '\\' && i+1 < len(pattern):
			i++
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	return b.String()
}

// class writes what stood in brackets; an exclamation mark excludes it.
func class(set string) string {
	negated := strings.HasPrefix(set, "!")
	set = strings.NewReplacer(`\`, `\\`, "^", `\^`, "[", `\[`).Replace(strings.TrimPrefix(set, "!"))
	if negated {
		return "[^" + set + "]"
	}
	return "[" + set + "]"
}
