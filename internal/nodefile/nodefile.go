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
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// tables are the top-level names of a node file: the agent's, which are
// Telegraf's, and the relay's.
var tables = []string{
	"agent", "aggregators", "global_tags", "inputs", "outputs", "processors", "relay", "secretstores", "tags",
}

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
}

// Error is a mistake in a node file, at a line where one is known.
type Error struct {
	File string
	Line int    // 0 if unknown
	Key  string // dotted: "inputs.cpu.percpu"; may be empty
	Text string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	return b.String() + ": " + e.Text
}

// Load reads and parses the file at path.
func Load(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read node file: %w", err)
	}
	return Parse(path, data)
}

// Parse parses data and refuses top-level tables that belong to neither
// program. All mistakes found are returned together (errors.Join).
func Parse(name string, data []byte) (*File, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	f := &File{Name: name, where: locate(string(data)), substituted: map[string]bool{}}
	if _, err := toml.Decode(string(data), &f.values); err != nil {
		return nil, f.syntaxError(err)
	}
	f.values = f.expandTable(nil, f.values)
	return f, f.checkTopLevel()
}

func (f *File) syntaxError(err error) error {
	var p toml.ParseError
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	text := p.Message
	if p.Usage != "" {
		first, _, _ := strings.Cut(strings.TrimSpace(p.Usage), "\n")
		text += " (" + strings.TrimSpace(first) + ")"
	}
	return &Error{File: f.Name, Line: p.Position.Line, Text: text}
}

func (f *File) checkTopLevel() error {
	var errs []error
	for key := range f.values {
		if slices.Contains(tables, key) {
			continue
		}
		text := "neither vitals-agent nor vitals-relay has a table of this name"
		if near := Nearest(key, tables); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		} else if _, isTable := f.values[key].(map[string]any); isTable {
			text += fmt.Sprintf("; a collector is configured as [[inputs.%s]]", key)
		}
		errs = append(errs, &Error{File: f.Name, Line: f.where.line(key), Key: key, Text: text})
	}
	return joinByLine(errs)
}

// joinByLine joins errors in the order of their lines.
func joinByLine(errs []error) error {
	line := func(err error) int {
		if e, ok := err.(*Error); ok {
			return e.Line
		}
		return 0
	}
	slices.SortStableFunc(errs, func(a, b error) int { return cmp.Compare(line(a), line(b)) })
	return errors.Join(errs...)
}

// Table returns the top-level table of that name. The section of an absent
// table is empty, and ok is false.
func (f *File) Table(name string) (s *Section, ok bool) {
	v, ok := f.values[name].(map[string]any)
	return f.section([]string{name}, []string{name}, v), ok
}

// Plugins returns the tables of one kind ("inputs", "outputs", …) in the order
// of the file, whether written [[inputs.cpu]] or [inputs.cpu].
func (f *File) Plugins(kind string) ([]*Section, error) {
	byName, ok := f.values[kind].(map[string]any)
	if !ok && f.values[kind] != nil {
		return nil, &Error{f.Name, f.where.line(kind), kind, fmt.Sprintf("must be tables, written [[%s.NAME]]", kind)}
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
	slices.SortStableFunc(all, func(a, b *Section) int { return cmp.Compare(a.Line, b.Line) })
	return all, joinByLine(errs)
}

func (f *File) section(path, at []string, values map[string]any) *Section {
	if values == nil {
		values = map[string]any{}
	}
	return &Section{
		Name: path[len(path)-1], Values: values, Line: f.where.line(at...),
		file: f, path: path, at: at,
	}
}
