package nodefile

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// variable matches $$, $NAME, ${NAME}, ${NAME:-default}, ${NAME-default},
// ${NAME:?message} and ${NAME?message}.
var variable = regexp.MustCompile(`\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?])([^}]*))?\})`)

// expandTable replaces variables in the string values below a table, in place.
// Values are parsed before they are expanded: what a variable holds can never
// become syntax.
func (f *File) expandTable(path []string, table map[string]any) map[string]any {
	for key, v := range table {
		table[key] = f.expandValue(append(slices.Clone(path), key), v)
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
			v[i] = f.expandValue(path, v[i])
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

func (f *File) expandString(path []string, s string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	return variable.ReplaceAllStringFunc(s, func(match string) string {
		if match == "$$" {
			return "$"
		}
		m := variable.FindStringSubmatch(match)
		name, rule, word := m[1]+m[2], m[3], m[4]
		value, set := os.LookupEnv(name)
		if set && (value != "" || !strings.HasPrefix(rule, ":")) {
			f.substituted[joinPath(path)] = true
			return value
		}
		if strings.HasSuffix(rule, "-") {
			f.substituted[joinPath(path)] = true
			return word
		}
		warning := fmt.Sprintf("the environment variable %s is not set and is left as written; give a default with ${%s:-…}", name, name)
		if word != "" {
			warning = fmt.Sprintf("the environment variable %s is not set: %s", name, word)
		}
		e := &Error{f.Name, f.where.line(path...), strings.Join(slices.DeleteFunc(slices.Clone(path), isIndex), "."), warning}
		f.Warnings = append(f.Warnings, e.Error())
		return match
	})
}
