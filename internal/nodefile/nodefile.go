// Package nodefile reads the one TOML file of a node, which vitals-agent and
// vitals-relay share: syntax, environment variables, the line of every key,
// and the nearest known name of a misspelt one.
//
// What the options mean belongs to the programs; each decodes its own sections
// into structs and leaves the other's alone.
package nodefile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// tables are the top-level names of a node file: the agent's, which are
// Telegraf's, and the relay's.
var tables = []string{
	"agent", "aggregators", "global_tags", "inputs", "outputs", "plugins", "processors", "relay", "secretstores", "tags",
}

// single are those of which a file has one, with options; the others hold a
// table for each plugin.
var single = []string{"agent", "global_tags", "relay", "tags"}

// File is a parsed node file.
type File struct {
	// Name is the path as given, for messages.
	Name string
	// Warnings name what was accepted but is probably not meant, such as an
	// environment variable that is not set.
	Warnings []string

	values map[string]any
	where  positions
	// substituted holds the paths of strings that contained a variable: they
	// may be read as another type.
	substituted map[string]bool
	errs        []error
	order       int // among the files that are read together
}

// Error is a mistake in a node file, at a line where one is known.
type Error struct {
	File         string
	Line, Column int    // 0 if unknown
	Key          string // dotted: "inputs.cpu.percpu"; may be empty
	Text         string

	order int // of the file
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Column > 0 {
		fmt.Fprintf(&b, ":%d", e.Column)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	return b.String() + ": " + e.Text
}

// Load reads and parses the file at path for a program that has one table of it.
// Variables are replaced there: those of the others need not be set for it.
func Load(path, table string) (*File, error) {
	return load(path, 0, nil, table)
}

// load replaces variables in the given tables, in all of them if none is given.
func load(path string, order int, fetch func(url string) ([]byte, error), own ...string) (*File, error) {
	if u, err := url.Parse(path); err == nil && fetch != nil && IsURL(path) {
		data, err := fetch(path)
		if err != nil {
			return nil, err
		}
		return parseAt(u.Redacted(), data, order, own...)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read node file: %w", err)
	}
	return parseAt(path, data, order, own...)
}

// IsURL reports whether path is not that of a file here.
func IsURL(path string) bool {
	return strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://")
}

// Parse parses data and refuses top-level tables that belong to neither
// program. All mistakes found are returned together (errors.Join).
func Parse(name string, data []byte) (*File, error) { return parseAt(name, data, 0) }

func parseAt(name string, data []byte, order int, own ...string) (*File, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	where, deep := locate(string(data))
	f := &File{Name: name, where: where, substituted: map[string]bool{}, order: order}
	if deep.line > 0 {
		return nil, f.errorAt(deep, "", fmt.Sprintf("more than %d names and brackets within each other; no option needs so many", maxDepth))
	}
	if _, err := toml.Decode(string(data), &f.values); err != nil {
		return nil, f.syntaxError(string(data), err)
	}
	f.expandTop(own)
	f.checkTopLevel()
	return f, joinByPlace(f.errs)
}

func (f *File) syntaxError(data string, err error) error {
	var p toml.ParseError
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	text := p.Message
	if p.Usage != "" {
		first, _, _ := strings.Cut(strings.TrimSpace(p.Usage), "\n")
		text += " (" + strings.TrimSpace(first) + ")"
	}
	if strings.Contains(text, "'$'") {
		text += `; a variable stands in quotes, for numbers and booleans too: debug = "${DEBUG}"`
	}
	// The library counts a line too many where a newline is what is wrong.
	return f.errorAt(placeOf(data, p.Position.Start), "", text)
}

func (f *File) checkTopLevel() {
	for key, v := range f.values {
		if slices.Contains(tables, key) {
			if _, isTable := v.(map[string]any); !isTable && slices.Contains(single, key) {
				f.errs = append(f.errs, f.errorAt(f.where.of(key), key, fmt.Sprintf("must be one table, written [%s]", key)))
			}
			continue
		}
		text := "neither vitals-agent nor vitals-relay has a table of this name"
		_, isTable := v.(map[string]any)
		_, isArray := v.([]map[string]any)
		if near := Nearest(key, tables); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		} else if isTable || isArray {
			text += fmt.Sprintf("; a collector is configured as [[inputs.%s]]", key)
		}
		f.errs = append(f.errs, f.errorAt(f.where.of(key), key, text))
	}
}

func (f *File) errorAt(at place, key, text string) *Error {
	return &Error{File: f.Name, Line: at.line, Column: at.column, Key: key, Text: text, order: f.order}
}

// ByPlace compares errors by where in the files they are; those without a place
// come first.
func ByPlace(a, b error) int {
	at := func(err error) (int, int, int) {
		if e, ok := errors.AsType[*Error](err); ok {
			return e.order, e.Line, e.Column
		}
		return 0, 0, 0
	}
	aFile, aLine, aColumn := at(a)
	bFile, bLine, bColumn := at(b)
	return cmp.Or(cmp.Compare(aFile, bFile), cmp.Compare(aLine, bLine), cmp.Compare(aColumn, bColumn))
}

// joinByPlace joins errors in the order of their places.
func joinByPlace(errs []error) error {
	slices.SortStableFunc(errs, ByPlace)
	return errors.Join(errs...)
}

// Table returns the top-level table of that name. The section of an absent
// table is empty, and ok is false.
func (f *File) Table(name string) (s *Section, ok bool) {
	v, ok := f.values[name].(map[string]any)
	return f.section([]string{name}, []string{name}, v), ok
}

// Plugins returns the tables of one kind ("inputs", "outputs", …) in the order
// of the file, whether written [[inputs.cpu]] or [inputs.cpu]. [[plugins.cpu]]
// is an older name of the former.
func (f *File) Plugins(kind string) ([]*Section, error) {
	all, err := f.plugins(kind)
	if kind == "inputs" {
		older, olderErr := f.plugins("plugins")
		all, err = append(all, older...), errors.Join(err, olderErr)
	}
	slices.SortStableFunc(all, func(a, b *Section) int { return cmp.Compare(a.Line, b.Line) })
	return all, err
}

func (f *File) plugins(kind string) ([]*Section, error) {
	byName, ok := f.values[kind].(map[string]any)
	if !ok && f.values[kind] != nil {
		return nil, f.errorAt(f.where.of(kind), kind, fmt.Sprintf("must be tables, written [[%s.NAME]]", kind))
	}
	var all []*Section
	var errs []error
	for name := range byName {
		s, err := f.section([]string{kind}, []string{kind}, byName).Sub(name)
		if err != nil {
			errs = append(errs, err)
		}
		all = append(all, s...)
	}
	return all, joinByPlace(errs)
}

func (f *File) section(path, at []string, values map[string]any) *Section {
	if values == nil {
		values = map[string]any{}
	}
	return &Section{
		Name: path[len(path)-1], Values: values, Line: f.where.of(at...).line,
		file: f, path: path, at: at,
	}
}
