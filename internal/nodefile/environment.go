package nodefile

import (
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// expandTop replaces variables in the given tables, in all if there are none.
func (f *File) expandTop(own []string) {
	for _, key := range slices.Sorted(maps.Keys(f.values)) {
		if len(own) == 0 || slices.Contains(own, key) {
			f.values[key] = f.expandValue([]string{key}, f.values[key])
		}
	}
}

// expandTable replaces variables in the string values below a table, in place.
// Values are parsed before they are expanded: what a variable holds can never
// become syntax.
func (f *File) expandTable(path []string, table map[string]any) map[string]any {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		table[key] = f.expandValue(append(slices.Clone(path), key), table[key])
	}
	return table
}

func (f *File) expandValue(path []string, v any) any {
	switch v := v.(type) {
	case string:
		return f.expandString(path, v)
	case map[string]any:
		return f.expandTable(path, v)
	case []map[string]any:
		for i := range v {
			f.expandTable(append(slices.Clone(path), strconv.Itoa(i)), v[i])
		}
	case []any:
		for i := range v {
			v[i] = f.expandValue(append(slices.Clone(path), strconv.Itoa(i)), v[i])
		}
	}
	return v
}

// isIndex reports whether a part of a path numbers a table among those of its
// name: the line tells people which one it is.
func isIndex(part string) bool {
	_, err := strconv.Atoi(part)
	return err == nil
}

// variable matches the beginning of $NAME, ${NAME}, ${NAME:-default},
// ${NAME-default}, ${NAME:?message} and ${NAME?message}.
var variable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(\}|:?[-?]))`)
})

// expandString replaces the variables in s. $$ is a dollar sign; one that
// begins no variable, as in a regular expression, stays.
func (f *File) expandString(path []string, s string) string {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(s, "$")
		b.WriteString(plain)
		if !found {
			return b.String()
		}
		if s = "$" + rest; strings.HasPrefix(rest, "$") {
			b.WriteByte('$')
			s = rest[1:]
			continue
		}
		value, n := f.expandVariable(path, s)
		b.WriteString(value)
		s = s[n:]
	}
}

// expandVariable returns what the dollar sign that s begins with stands for,
// and how much of s it takes.
func (f *File) expandVariable(path []string, s string) (value string, n int) {
	m := variable().FindStringSubmatch(s)
	if m == nil {
		return "$", 1
	}
	name, rule, word, n := m[1]+m[2], strings.Trim(m[3], "}"), "", len(m[0])
	if rule != "" {
		end := closing(s[n:])
		if end < 0 {
			return "$", 1
		}
		word, n = s[n:n+end], n+end+1
	}
	value, set := os.LookupEnv(name)
	switch usable := set && (value != "" || !strings.HasPrefix(rule, ":")); {
	case usable:
	case strings.HasSuffix(rule, "-"):
		value = f.expandString(path, word)
	case strings.HasSuffix(rule, "?"):
		f.errs = append(f.errs, f.unset(path, name, ": "+or(word, "the file cannot do without it")))
		return s[:n], n
	default:
		f.Warnings = append(f.Warnings, f.unset(path, name, fmt.Sprintf(" and is left as written; set it, or give a default with ${%s:-…}", name)).Error())
		return s[:n], n
	}
	f.substituted[joinPath(path)] = true
	return value, n
}

// unset is said of a variable that has no value.
func (f *File) unset(path []string, name, text string) error {
	key := strings.Join(slices.DeleteFunc(slices.Clone(path), isIndex), ".")
	return f.errorAt(f.where.near(path), key, fmt.Sprintf("the environment variable %s is not set%s", name, text))
}

// closing is where the brace stands that closes the one before s.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch {
		case strings.HasPrefix(s[i:], "${"):
			depth++
		case s[i] == '}' && depth == 0:
			return i
		case s[i] == '}':
			depth--
		}
	}
	return -1
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// coerce reads a string that came from an environment variable as the boolean
// or number that it spells, and those of a list.
func (f *File) coerce(at []string, v any) (any, bool) {
	switch v := v.(type) {
	case string:
		if f.substituted[joinPath(at)] {
			return scalar(strings.TrimSpace(v))
		}
	case []any:
		all, changed := slices.Clone(v), false
		for i := range all {
			if one, ok := f.coerce(append(slices.Clone(at), strconv.Itoa(i)), all[i]); ok {
				all[i], changed = one, true
			}
		}
		return all, changed
	}
	return v, false
}

func scalar(text string) (any, bool) {
	switch strings.ToLower(text) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}
