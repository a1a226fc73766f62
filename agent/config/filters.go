package config

import (
	"errors"
	"slices"

	"github.com/rpicluster/vitals/agent/selection"
	"github.com/rpicluster/vitals/internal/nodefile"
)

// filterOptions are the options of every input and output that say which lines
// pass, and what of them.
type filterOptions struct {
	NamePass          []string            `toml:"namepass"`
	NamePassSeparator string              `toml:"namepass_separator"`
	NameDrop          []string            `toml:"namedrop"`
	NameDropSeparator string              `toml:"namedrop_separator"`
	TagPass           map[string][]string `toml:"tagpass"`
	TagDrop           map[string][]string `toml:"tagdrop"`
	FieldInclude      []string            `toml:"fieldinclude"`
	FieldPass         []string            `toml:"fieldpass"`
	Pass              []string            `toml:"pass"`
	FieldExclude      []string            `toml:"fieldexclude"`
	FieldDrop         []string            `toml:"fielddrop"`
	Drop              []string            `toml:"drop"`
	TagInclude        []string            `toml:"taginclude"`
	TagExclude        []string            `toml:"tagexclude"`
	AlwaysLocal       bool                `toml:"always_include_local_tags"`
}

var (
	filterKeys = []string{"namepass", "namepass_separator", "namedrop", "namedrop_separator", "tagpass", "tagdrop",
		"fieldinclude", "fieldpass", "pass", "fieldexclude", "fielddrop", "drop", "taginclude", "tagexclude", "always_include_local_tags"}
	// oldNames holds the deprecated names of options. Their patterns come first.
	oldNames = map[string][]string{"fieldinclude": {"pass", "fieldpass"}, "fieldexclude": {"drop", "fielddrop"}}
)

// filter takes the filters out of a section and compiles them.
func (l *loader) filter(s *nodefile.Section) *selection.Filter {
	own := s.Take(filterKeys...)
	for _, key := range []string{"tagpass", "tagdrop"} {
		if _, isTable := own.Values[key].(map[string]any); !isTable && own.Has(key) {
			l.fail(own.Errorf(key, `must be a table of lists: [%s.%s], and below it a line for each tag, such as cpu = ["cpu0", "cpu1"]`, s.Path(), key))
			own.Take(key)
		}
	}
	var t filterOptions
	if err := own.Decode(&t); err != nil {
		l.fail(err)
		return nil
	}
	if t.AlwaysLocal {
		l.warn(own.Errorf("always_include_local_tags", "has no effect here, in Telegraf neither; it is a setting of [agent]"))
	}
	for _, name := range []string{"fieldinclude", "fieldexclude"} {
		for _, key := range oldNames[name] {
			if own.Has(key) {
				l.warn(own.Errorf(key, "is an old name; write %s", name))
			}
		}
	}
	f, err := selection.New(selection.Options{
		NamePass: t.NamePass, NamePassSeparators: t.NamePassSeparator, NameDrop: t.NameDrop, NameDropSeparators: t.NameDropSeparator,
		TagPass: t.TagPass, TagDrop: t.TagDrop,
		FieldInclude: slices.Concat(t.Pass, t.FieldPass, t.FieldInclude), FieldExclude: slices.Concat(t.Drop, t.FieldDrop, t.FieldExclude),
		TagInclude: t.TagInclude, TagExclude: t.TagExclude,
	})
	if bad, ok := errors.AsType[*selection.Error](err); ok {
		l.fail(own.Errorf(written(own, bad), "%q is not a pattern (%v); write a backslash before each of * ? [ ] { } that stands for itself", bad.Pattern, bad.Err))
	}
	return f
}

// written is the option in which a bad pattern stands.
func written(s *nodefile.Section, bad *selection.Error) string {
	for _, key := range oldNames[bad.Option] {
		if list, ok := s.Values[key].([]any); ok && slices.Contains(list, any(bad.Pattern)) {
			return key
		}
	}
	return bad.Option
}

// filterOutput reads what an output does to lines before it buffers them.
func (l *loader) filterOutput(s *nodefile.Section, o *Output) {
	o.Filter = l.filter(s)
	var t struct {
		NameOverride string `toml:"name_override"`
		NamePrefix   string `toml:"name_prefix"`
		NameSuffix   string `toml:"name_suffix"`
	}
	names := s.Take("name_override", "name_prefix", "name_suffix")
	l.fail(names.Decode(&t))
	l.checkName(names, t.NameOverride, t.NamePrefix, t.NameSuffix)
	o.NameOverride, o.Prefix, o.Suffix = t.NameOverride, t.NamePrefix, t.NameSuffix
}
