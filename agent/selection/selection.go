// Package selection is Telegraf's filters: which lines pass an input or an
// output, and which of their fields and tags stay.
//
//	line ─► namepass, namedrop ─► tagpass, tagdrop ─► selected
//	           └─ of that: fieldinclude, fieldexclude, taginclude, tagexclude
//
// Names, keys and values are matched as they are, unescaped. A list in which no
// pattern holds any of * ? [ is a set of exact names; in any other list every
// pattern is a glob, in which { } and \ have a meaning too.
package selection

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/glob"

	"github.com/rpicluster/vitals/internal/line"
)

// Options are the filters as written. An empty list asks for nothing.
type Options struct {
	NamePass, NameDrop []string
	// Each character of these ends what * and ? match in a name, and makes a
	// glob of every pattern of its list.
	NamePassSeparators, NameDropSeparators string
	// TagPass and TagDrop hold patterns of values by the key of the tag. A key
	// without patterns matches nothing.
	TagPass, TagDrop           map[string][]string
	FieldInclude, FieldExclude []string
	TagInclude, TagExclude     []string
}

// Error is a pattern that is not one.
type Error struct {
	Option  string // as in the node file; "tagpass.KEY"
	Pattern string
	Err     error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %q: %v", e.Option, e.Pattern, e.Err) }

// Unwrap returns what is wrong with the pattern.
func (e *Error) Unwrap() error { return e.Err }

// Filter is compiled Options. It never changes and may be used by several
// goroutines. A nil Filter lets everything through.
type Filter struct {
	options          Options
	name             pair
	tagPass, tagDrop []tagPatterns
	field, tag       pair
}

// tagPatterns are patterns of the values of one tag.
type tagPatterns struct {
	key    string
	values *patterns // nil: none
}

// New compiles options. The Filter is nil if they ask for nothing.
func New(o Options) (*Filter, error) {
	if reflect.DeepEqual(o.significant(), Options{}) {
		return nil, nil
	}
	c := compiler{}
	f := &Filter{
		options: o,
		name: pair{
			c.compile("namepass", o.NamePass, o.NamePassSeparators),
			c.compile("namedrop", o.NameDrop, o.NameDropSeparators),
		},
		tagPass: c.compileTags("tagpass", o.TagPass),
		tagDrop: c.compileTags("tagdrop", o.TagDrop),
		field:   pair{c.compile("fieldinclude", o.FieldInclude, ""), c.compile("fieldexclude", o.FieldExclude, "")},
		tag:     pair{c.compile("taginclude", o.TagInclude, ""), c.compile("tagexclude", o.TagExclude, "")},
	}
	if c.err != nil {
		return nil, c.err
	}
	return f, nil
}

// significant is o without what is empty or without effect.
func (o Options) significant() Options {
	for _, list := range []*[]string{&o.NamePass, &o.NameDrop, &o.FieldInclude, &o.FieldExclude, &o.TagInclude, &o.TagExclude} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	for _, table := range []*map[string][]string{&o.TagPass, &o.TagDrop} {
		if len(*table) == 0 {
			*table = nil
		}
	}
	if o.NamePass == nil {
		o.NamePassSeparators = ""
	}
	if o.NameDrop == nil {
		o.NameDropSeparators = ""
	}
	return o
}

// Options returns what the Filter was made of.
func (f *Filter) Options() Options {
	if f == nil {
		return Options{}
	}
	return f.options
}

// Equal reports whether two Filters do the same for the same reason.
func (f *Filter) Equal(other *Filter) bool {
	return reflect.DeepEqual(f.Options().significant(), other.Options().significant())
}

// Selects reports whether a line passes. text is the caller's scratch.
func (f *Filter) Selects(l line.Line, text *line.Text) bool {
	if f == nil {
		return true
	}
	if f.name.active() && !f.name.keeps(text.Name(l)) {
		return false
	}
	return (f.tagPass == nil || holds(f.tagPass, l, text)) && !holds(f.tagDrop, l, text)
}

// holds reports whether a line has one of the tags with a value that matches.
func holds(tags []tagPatterns, l line.Line, text *line.Text) bool {
	for i := range tags {
		if tags[i].values == nil {
			continue
		}
		if value, ok := text.Tag(l, tags[i].key); ok && tags[i].values.match(value) {
			return true
		}
	}
	return false
}

// KeepField tells by its key whether a field stays; it is nil if all do.
func (f *Filter) KeepField() func(key string) bool {
	if f == nil || !f.field.active() {
		return nil
	}
	return f.field.keeps
}

// KeepTag tells by its key whether a tag stays; it is nil if all do.
func (f *Filter) KeepTag() func(key string) bool {
	if f == nil || !f.tag.active() {
		return nil
	}
	return f.tag.keeps
}

// pair is what passes and what is dropped. What is in both is dropped.
type pair struct{ pass, drop *patterns }

func (p *pair) active() bool { return p.pass != nil || p.drop != nil }

func (p *pair) keeps(s string) bool {
	return (p.pass == nil || p.pass.match(s)) && (p.drop == nil || !p.drop.match(s))
}

// patterns is one list: exact names, or globs.
type patterns struct {
	exact map[string]struct{}
	globs []*glob.Glob
}

func (p *patterns) match(s string) bool {
	if p.exact != nil {
		_, ok := p.exact[s]
		return ok
	}
	for _, g := range p.globs {
		if g.Match(s) {
			return true
		}
	}
	return false
}

// compiler compiles lists up to the first mistake.
type compiler struct{ err error }

// compile returns nil for an empty list.
func (c *compiler) compile(option string, list []string, separators string) *patterns {
	if len(list) == 0 {
		return nil
	}
	wild := func(s string) bool { return strings.ContainsAny(s, "*?[") }
	p := &patterns{}
	if separators == "" && !slices.ContainsFunc(list, wild) {
		p.exact = map[string]struct{}{}
		for _, s := range list {
			p.exact[s] = struct{}{}
		}
		return p
	}
	for _, s := range list {
		g, err := glob.Compile(s, []rune(separators)...)
		if err != nil && c.err == nil {
			c.err = &Error{Option: option, Pattern: s, Err: err}
		}
		p.globs = append(p.globs, g)
	}
	return p
}

// compileTags returns nil for an empty table only: one whose lists are empty
// lets no line through as tagpass.
func (c *compiler) compileTags(option string, table map[string][]string) []tagPatterns {
	var tags []tagPatterns
	for _, key := range slices.Sorted(maps.Keys(table)) {
		tags = append(tags, tagPatterns{key, c.compile(option+"."+key, table[key], "")})
	}
	return tags
}
