package nodefile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Files are several node files, read as one. What a table means never depends
// on which of them it is in, except that of an option that two of them set the
// last one counts.
type Files struct {
	// Name is what the files are called together, for messages about none of
	// their lines.
	Name string
	// Warnings are those of all files, and of options that are set twice.
	Warnings []string

	all []*File
}

// LoadAll reads files and makes them one. A file that is elsewhere, whose path
// is a URL, is had from fetch. With the error, which holds all
// mistakes, come the files only if each could be parsed.
func LoadAll(fetch func(url string) ([]byte, error), paths ...string) (*Files, error) {
	var files []*File
	var errs []error
	for i, path := range paths {
		f, err := load(path, i, fetch)
		if f != nil {
			files = append(files, f)
		}
		errs = append(errs, err)
	}
	if len(files) < len(paths) {
		return nil, errors.Join(errs...)
	}
	return join(files), errors.Join(errs...)
}

// Join makes files one, in the order given.
func Join(files ...*File) *Files {
	for i, one := range files {
		one.order = i
	}
	return join(files)
}

func join(files []*File) *Files {
	f := &Files{all: files}
	var names []string
	for _, one := range files {
		names = append(names, one.Name)
		f.Warnings = append(f.Warnings, one.Warnings...)
	}
	f.Name = strings.Join(names, ", ")
	f.warnOfOverlap("agent")
	return f
}

// warnOfOverlap tells which options of a table several files set.
func (f *Files) warnOfOverlap(table string) {
	var places, keys []string
	set := map[string]int{}
	for _, one := range f.all {
		s, ok := one.Table(table)
		if !ok {
			continue
		}
		places = append(places, fmt.Sprintf("%s:%d", one.Name, s.Line))
		for key := range s.Values {
			if set[key]++; set[key] == 2 {
				keys = append(keys, key)
			}
		}
	}
	if len(keys) > 0 {
		slices.Sort(keys)
		f.Warnings = append(f.Warnings, fmt.Sprintf("several [%s] tables (%s) set %s; the last one counts",
			table, strings.Join(places, ", "), strings.Join(keys, ", ")))
	}
}

// Table returns the top-level tables of that name as one. The section of a
// table that no file has is empty, and ok is false.
func (f *Files) Table(name string) (s *Section, ok bool) {
	for _, one := range f.all {
		t, here := one.Table(name)
		switch {
		case s == nil || here && !ok:
			s, ok = t, here
		case here:
			s = s.join(t)
		}
	}
	if s == nil {
		s, _ = (&File{Name: f.Name}).Table(name)
	}
	return s, ok
}

// join is both sections as one; of an option that both set, later's counts.
func (s *Section) join(later *Section) *Section {
	joined := *s
	joined.Values, joined.from = maps.Clone(s.Values), maps.Clone(s.from)
	if joined.from == nil {
		joined.from = map[string]*Section{}
		for key := range s.Values {
			joined.from[key] = s
		}
	}
	for key, v := range later.Values {
		joined.Values[key], joined.from[key] = v, later
	}
	return &joined
}

// Plugins returns the tables of one kind, in the order of the files.
func (f *Files) Plugins(kind string) ([]*Section, error) {
	var all []*Section
	var errs []error
	for _, one := range f.all {
		s, err := one.Plugins(kind)
		all, errs = append(all, s...), append(errs, err)
	}
	return all, errors.Join(errs...)
}
