package nodefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
)

// Section is one table of a node file.
type Section struct {
	Name   string         // last part of the path: "cpu" of [[inputs.cpu]]
	Values map[string]any // what the file says, environment variables replaced
	Line   int            // of the table's header

	file *File
	path []string // for people: inputs cpu
	at   []string // for positions: inputs cpu 0
	// from are the sections that the keys of a joined one come from.
	from map[string]*Section
}

// home is the section in which key is written.
func (s *Section) home(key string) *Section {
	first, _, _ := strings.Cut(key, ".")
	if from := s.from[first]; from != nil {
		return from
	}
	return s
}

// Path is the section's dotted name as people write it: "inputs.cpu".
func (s *Section) Path() string { return strings.Join(s.path, ".") }

// Beside is where s is, as it is told in a message about other.
func (s *Section) Beside(other *Section) string {
	if s.file == other.file {
		return fmt.Sprintf("of line %d", s.Line)
	}
	return fmt.Sprintf("at %s:%d", s.file.Name, s.Line)
}

// Has reports whether the section sets key.
func (s *Section) Has(key string) bool {
	_, ok := s.Values[key]
	return ok
}

// Keys returns the keys that the section sets, sorted.
func (s *Section) Keys() []string { return slices.Sorted(maps.Keys(s.Values)) }

// Take removes keys from s into a section of their own, at the same place of
// the file: it parts the host's options from a plugin's.
func (s *Section) Take(keys ...string) *Section {
	taken := *s
	taken.Values = map[string]any{}
	for _, k := range keys {
		if v, ok := s.Values[k]; ok {
			taken.Values[k] = v
			delete(s.Values, k)
		}
	}
	return &taken
}

// Rewrite replaces every string among the values of the section, and of the
// tables in it, by what rewrite makes of it. The key is for Errorf.
func (s *Section) Rewrite(rewrite func(key, text string) string) {
	for _, key := range s.Keys() {
		s.Values[key] = rewriteValue(key, s.Values[key], rewrite)
	}
}

func rewriteValue(at string, v any, rewrite func(key, text string) string) any {
	switch v := v.(type) {
	case string:
		return rewrite(at, v)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			v[key] = rewriteValue(at+"."+key, v[key], rewrite)
		}
	case []map[string]any:
		for i := range v {
			rewriteValue(at, v[i], rewrite)
		}
	case []any:
		for i := range v {
			v[i] = rewriteValue(at, v[i], rewrite)
		}
	}
	return v
}

// Sub returns the tables under key, be it one table or an array of them, in
// the order of the file. None is not an error.
func (s *Section) Sub(key string) ([]*Section, error) {
	path := append(slices.Clone(s.path), key)
	home := s.home(key)
	at := append(slices.Clone(home.at), key)
	switch v := s.Values[key].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return []*Section{home.file.section(path, at, v)}, nil
	case []map[string]any:
		subs := make([]*Section, len(v))
		for i := range v {
			subs[i] = home.file.section(path, append(slices.Clone(at), strconv.Itoa(i)), v[i])
		}
		return subs, nil
	default:
		return nil, s.Errorf(key, "must be a table, written [[%s.%s]]", s.Path(), key)
	}
}

// Errorf makes an *Error located at key, or at the section if key is empty or
// not in it.
func (s *Section) Errorf(key, format string, args ...any) error {
	home := s.home(key)
	e := home.file.errorAt(home.file.where.of(home.at...), s.Path(), fmt.Sprintf(format, args...))
	if key != "" {
		e.Key += "." + key
		at := append(slices.Clone(home.at), strings.Split(key, ".")...)
		for ; len(at) > len(home.at); at = at[:len(at)-1] {
			if found := home.file.where.of(at...); found.line > 0 {
				e.Line, e.Column = found.line, found.column
				break
			}
		}
	}
	return e
}

// Decode reads the section into the struct that v points to, which holds the
// defaults. A key that the struct does not have and a value of the wrong type
// are *Errors; all of them are returned together.
func (s *Section) Decode(v any) error {
	values := cloneTable(s.Values)
	errs := s.takeNoTables(values, reflect.TypeOf(v).Elem())
	for {
		doc, err := encode(values)
		if err != nil {
			return s.Errorf("", "%v", err)
		}
		md, err := toml.Decode(string(doc), v)
		if err == nil {
			errs = append(errs, s.unknownKeys(md.Undecoded(), v)...)
			return joinByPlace(errs)
		}
		path, text := mistake(err)
		if path == "" {
			return joinByPlace(append(errs, s.Errorf("", "%s", text)))
		}
		if s.coerce(values, strings.Split(path, ".")) {
			continue
		}
		if strings.HasSuffix(text, ", not a string") && s.isSubstituted(path) {
			text += "; the variable in it spells no number and neither true nor false"
		}
		errs = append(errs, s.Errorf(path, "%s", text))
		if !remove(values, strings.Split(path, ".")) { // and look for further mistakes
			return joinByPlace(errs)
		}
	}
}

// remove takes the value at path out of a table, or what it is a part of, and
// reports whether there is any.
func remove(table map[string]any, path []string) bool {
	if inner, ok := table[path[0]].(map[string]any); ok && len(path) > 1 && remove(inner, path[1:]) {
		return true
	}
	_, ok := table[path[0]]
	delete(table, path[0])
	return ok
}

// takeNoTables takes out the values that are no tables where t has a map. The
// TOML library would ignore them.
func (s *Section) takeNoTables(values map[string]any, t reflect.Type) (errs []error) {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		v, set := values[name]
		if _, isTable := v.(map[string]any); set && !isTable && field.Type.Kind() == reflect.Map {
			errs = append(errs, s.Errorf(name, "must be a table, not %s", article(reflect.TypeOf(v).Kind().String())))
			delete(values, name)
		}
	}
	return errs
}

// Coerce reads the strings of option that came from environment variables as
// the booleans or numbers that they spell: debug = "${DEBUG}" with DEBUG=true
// is a boolean where one is wanted. It reports whether anything has changed.
func (s *Section) Coerce(option string) bool {
	return s.coerce(s.Values, strings.Split(option, "."))
}

// Clone is a copy of s that can be changed without changing s.
func (s *Section) Clone() *Section {
	c := *s
	c.Values = cloneTable(s.Values)
	return &c
}

func cloneTable(table map[string]any) map[string]any {
	table = maps.Clone(table)
	for key, v := range table {
		switch v := v.(type) {
		case map[string]any:
			table[key] = cloneTable(v)
		case []map[string]any:
			all := slices.Clone(v)
			for i := range all {
				all[i] = cloneTable(all[i])
			}
			table[key] = all
		case []any:
			table[key] = slices.Clone(v)
		}
	}
	return table
}

// isSubstituted reports whether a string that held a variable is at path.
func (s *Section) isSubstituted(path string) bool {
	home, keys := s.home(path), strings.Split(path, ".")
	var v any = s.Values
	for _, key := range keys {
		table, _ := v.(map[string]any)
		v = table[key]
	}
	_, isString := v.(string)
	return isString && home.file.substituted[joinPath(slices.Concat(home.at, keys))]
}

func (s *Section) coerce(values map[string]any, path []string) bool {
	home := s.home(path[0])
	at := slices.Concat(home.at, path)
	for len(path) > 1 {
		inner, ok := values[path[0]].(map[string]any)
		if !ok {
			at = at[:len(at)-len(path)+1]
			break
		}
		values, path = inner, path[1:]
	}
	v, changed := home.file.coerce(at, values[path[0]])
	if changed {
		values[path[0]] = v
	}
	return changed
}

var (
	decodeError = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^toml: (?:line \d+ )?\(last key "(.*?)"\): (?s:(.*))$`)
	})
	incompatible = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^incompatible types: TOML value has type (\S+); destination has type (\S+)`)
	})
)

// mistake takes the key and the cause out of the library's error. Its line is
// that of the re-encoded section, a document the user has never seen.
func mistake(err error) (key, text string) {
	var p toml.ParseError
	if errors.As(err, &p) {
		return p.LastKey, p.Message
	}
	m := decodeError().FindStringSubmatch(err.Error())
	if m == nil {
		return "", err.Error()
	}
	if types := incompatible().FindStringSubmatch(m[2]); types != nil {
		return m[1], fmt.Sprintf("must be %s, not %s", article(types[2]), article(types[1]))
	}
	return m[1], m[2]
}

func article(typ string) string {
	switch typ {
	case "slice":
		typ = "array"
	case "map", "struct":
		typ = "table"
	case "bool":
		typ = "boolean"
	case "int64", "int":
		typ = "integer"
	}
	if strings.ContainsRune("aeiou", rune(typ[0])) {
		return "an " + typ
	}
	return "a " + typ
}

func (s *Section) unknownKeys(undecoded []toml.Key, v any) []error {
	var errs []error
	known := optionNames(reflect.TypeOf(v))
	for _, key := range undecoded {
		if len(key) > 1 && slices.ContainsFunc(undecoded, func(k toml.Key) bool { return len(k) == 1 && k[0] == key[0] }) {
			continue // its parent is reported already
		}
		text := "unknown option"
		if near := Nearest(key[len(key)-1], known); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		errs = append(errs, s.Errorf(strings.Join(key, "."), "%s", text))
	}
	return errs
}

// optionNames lists the TOML names of a struct's fields, those of nested
// structs included.
func optionNames(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		if name != "" && name != "-" {
			names = append(names, name)
		}
		if name != "" || field.Anonymous {
			names = append(names, optionNames(field.Type)...)
		}
	}
	return names
}

// TOML returns the section's values as a document of its own.
func (s *Section) TOML() ([]byte, error) { return encode(s.Values) }

// JSON returns the section's values as a JSON object.
func (s *Section) JSON() ([]byte, error) { return json.Marshal(s.Values) }

func encode(values map[string]any) ([]byte, error) {
	var b bytes.Buffer
	enc := toml.NewEncoder(&b)
	enc.Indent = ""
	err := enc.Encode(values)
	return b.Bytes(), err
}
