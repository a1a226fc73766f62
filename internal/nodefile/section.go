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
}

// Path is the section's dotted name as people write it: "inputs.cpu".
func (s *Section) Path() string { return strings.Join(s.path, ".") }

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

// Sub returns the tables under key, be it one table or an array of them, in
// the order of the file. None is not an error.
func (s *Section) Sub(key string) ([]*Section, error) {
	path := append(slices.Clone(s.path), key)
	at := append(slices.Clone(s.at), key)
	switch v := s.Values[key].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return []*Section{s.file.section(path, at, v)}, nil
	case []map[string]any:
		subs := make([]*Section, len(v))
		for i := range v {
			subs[i] = s.file.section(path, append(slices.Clone(at), strconv.Itoa(i)), v[i])
		}
		return subs, nil
	default:
		return nil, s.Errorf(key, "must be a table, written [[%s.%s]]", s.Path(), key)
	}
}

// Errorf makes an *Error located at key, or at the section if key is empty or
// not in it.
func (s *Section) Errorf(key, format string, args ...any) error {
	e := &Error{File: s.file.Name, Line: s.Line, Key: s.Path(), Text: fmt.Sprintf(format, args...)}
	if key != "" {
		e.Key += "." + key
		at := append(slices.Clone(s.at), strings.Split(key, ".")...)
		for ; len(at) > len(s.at); at = at[:len(at)-1] {
			if line := s.file.where.line(at...); line > 0 {
				e.Line = line
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
	values := maps.Clone(s.Values)
	var errs []error
	for {
		doc, err := encode(values)
		if err != nil {
			return s.Errorf("", "%v", err)
		}
		md, err := toml.Decode(string(doc), v)
		if err == nil {
			errs = append(errs, s.unknownKeys(md.Undecoded(), v)...)
			return joinByLine(errs)
		}
		path, text := mistake(err)
		if path == "" {
			return joinByLine(append(errs, s.Errorf("", "%s", text)))
		}
		key, _, _ := strings.Cut(path, ".")
		if s.reinterpret(values, key) {
			continue
		}
		errs = append(errs, s.Errorf(path, "%s", text))
		if _, ok := values[key]; !ok {
			return joinByLine(errs)
		}
		delete(values, key) // and look for further mistakes
	}
}

// reinterpret reads a string that came from an environment variable as the
// TOML value that it spells: debug = "${DEBUG}" with DEBUG=true is a boolean.
func (s *Section) reinterpret(values map[string]any, key string) bool {
	text, isString := values[key].(string)
	if !isString || !s.file.substituted[joinPath(append(slices.Clone(s.at), key))] {
		return false
	}
	var parsed struct{ V any }
	if _, err := toml.Decode("V = "+text, &parsed); err != nil {
		return false
	}
	if _, still := parsed.V.(string); still {
		return false
	}
	values[key] = parsed.V
	return true
}

var (
	decodeError  = regexp.MustCompile(`^toml: (?:line \d+ )?\(last key "(.*?)"\): (?s:(.*))$`)
	incompatible = regexp.MustCompile(`^incompatible types: TOML value has type (\S+); destination has type (\S+)`)
)

// mistake takes the key and the cause out of the library's error. Its line is
// that of the re-encoded section, a document the user has never seen.
func mistake(err error) (key, text string) {
	var p toml.ParseError
	if errors.As(err, &p) {
		return p.LastKey, p.Message
	}
	m := decodeError.FindStringSubmatch(err.Error())
	if m == nil {
		return "", err.Error()
	}
	if types := incompatible.FindStringSubmatch(m[2]); types != nil {
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
