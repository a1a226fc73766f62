package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/plugins"
)

// Same reports whether two inputs are configured alike, wherever in the file.
func (in *Input) Same(other *Input) bool {
	a, b := *in, *other
	if (a.Executable == "") != (b.Executable == "") {
		return false
	}
	for _, one := range []*Input{&a, &b} { // what tells where, and not what
		one.ID, one.section, one.Executable = "", nil, ""
	}
	return reflect.DeepEqual(a, b)
}

// hostOptions are the options of every input that the agent itself acts on;
// all others are the collector's.
type hostOptions struct {
	Alias            string             `toml:"alias"`
	Interval         *nodefile.Duration `toml:"interval"`
	Precision        *nodefile.Duration `toml:"precision"`
	CollectionJitter *nodefile.Duration `toml:"collection_jitter"`
	CollectionOffset *nodefile.Duration `toml:"collection_offset"`
	GatherTimeout    *nodefile.Duration `toml:"gather_timeout"`
	Isolate          bool               `toml:"isolate"`
	LogLevel         string             `toml:"log_level"`
	PluginEnv        map[string]string  `toml:"plugin_env"`
	MaxLines         *int               `toml:"max_lines"`
	MaxSeries        *int               `toml:"max_series"`
	NameOverride     string             `toml:"name_override"`
	NamePrefix       string             `toml:"name_prefix"`
	NameSuffix       string             `toml:"name_suffix"`
	Tags             map[string]string  `toml:"tags"`
	TimeSource       string             `toml:"time_source"`
}

var (
	hostKeys = []string{"alias", "interval", "precision", "collection_jitter", "collection_offset",
		"gather_timeout", "isolate", "log_level", "plugin_env", "max_lines", "max_series", "name_override", "name_prefix", "name_suffix", "tags", "time_source"}
	timeSources = []string{"", "metric", "collection_start", "collection_end"}
	logLevels   = []string{"", "error", "warn", "info", "debug", "trace"}
	environment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (l *loader) inputs(a Agent) []Input {
	sections, err := l.sections("inputs", l.InputFilter)
	l.fail(err)
	if err == nil && len(sections) == 0 {
		l.fail(&nodefile.Error{File: l.file.Name, Text: "there is no input; add one, such as [[inputs.cpu]]"})
	}
	var all []Input
	ids := map[string]int{}
	for _, s := range sections {
		if !selected(l.InputFilter, s.Name) {
			continue
		}
		in := l.input(a, s)
		in.ID = unique(ids, in.Name, in.Alias)
		l.warnOfTwin(all, &in)
		all = append(all, in)
	}
	if len(sections) > 0 && len(all) == 0 {
		l.fail(fmt.Errorf("no input is named %s; the node file has %s",
			strings.Join(l.InputFilter, " or "), strings.Join(names(sections), ", ")))
	}
	return all
}

// warnOfTwin tells of an input that yields the very lines of one before it.
func (l *loader) warnOfTwin(all []Input, in *Input) {
	of := func(in *Input) string {
		name := in.Name
		if d, ok := l.builtin(name); ok {
			name = d.Name
		}
		return fmt.Sprintf("%q %s %q %q %q %q %q %q", name, in.TOML, in.NameOverride, in.Prefix, in.Suffix, in.Tags, in.Env, in.Filter.Options())
	}
	for i := range all {
		if of(&all[i]) == of(in) {
			l.warn(in.section.Errorf("", "collects the same as the table %s, and their lines overwrite each other; tags, name_override, name_prefix or name_suffix would tell them apart", all[i].section.Beside(in.section)))
			return
		}
	}
}

// unique makes Telegraf's name::alias, numbered where it comes again.
func unique(seen map[string]int, name, alias string) string {
	id := name
	if alias != "" {
		id += "::" + alias
	}
	seen[id]++
	if n := seen[id]; n > 1 {
		return fmt.Sprintf("%s#%d", id, n)
	}
	return id
}

func names(sections []*nodefile.Section) []string {
	var all []string
	for _, s := range sections {
		all = append(all, s.Name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (l *loader) input(a Agent, s *nodefile.Section) Input {
	if strings.HasPrefix(s.Path(), "plugins.") {
		l.warn(s.Errorf("", "is an old name; write [[inputs.%s]]", s.Name))
	}
	l.refuse(s, inputUnsupported)
	if _, ok := l.builtin(s.Name); ok {
		l.refuse(s, inputIgnored)
	}
	filter := l.filter(s)
	var t hostOptions
	l.checkForOptions(s)
	host := s.Take(hostKeys...)
	l.fail(host.Decode(&t))
	l.checkHostOptions(host, &t)
	in := Input{
		Name: s.Name, Alias: t.Alias, section: s,
		Interval: a.Interval, IntervalSet: t.Interval != nil, Precision: a.Precision,
		Jitter: a.CollectionJitter, Offset: a.CollectionOffset, GatherTimeout: a.GatherTimeout, GatherTimeoutSet: t.GatherTimeout != nil,
		Isolate: t.Isolate || len(t.PluginEnv) > 0, LogLevel: t.LogLevel, TimeSource: t.TimeSource, Env: t.PluginEnv,
		NameOverride: t.NameOverride, Prefix: t.NamePrefix, Suffix: t.NameSuffix, Tags: t.Tags,
		Filter: filter, AlwaysLocalTags: a.AlwaysLocalTags, AlwaysGlobalTags: a.AlwaysGlobalTags,
	}
	override(&in.Interval, t.Interval)
	override(&in.Precision, t.Precision)
	override(&in.Jitter, t.CollectionJitter)
	override(&in.Offset, t.CollectionOffset)
	override(&in.GatherTimeout, t.GatherTimeout)
	if err := in.encode(); err != nil {
		l.fail(s.Errorf("", "%v", err))
	}
	l.resolve(a, s, &in)
	in.MaxLines, in.MaxSeries = in.bound(t.MaxLines, defaultLines), in.bound(t.MaxSeries, defaultSeries)
	return in
}

// checkForOptions tells of options among an input's tags: TOML takes what is
// written below a table for a part of it.
func (l *loader) checkForOptions(s *nodefile.Section) {
	tags, _ := s.Values["tags"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if _, isString := tags[key].(string); !isString {
			l.fail(s.Errorf("tags."+key, "must be a string; an option of the input is written before [%s.tags]", s.Path()))
			delete(tags, key)
		} else if slices.Contains(hostKeys, key) || slices.Contains(filterKeys, key) {
			l.warn(s.Errorf("tags."+key, "is a tag here; the option is written before [%s.tags]", s.Path()))
		}
	}
}

// bound is what is set, else what a drop-in is held to: collectors that are
// built in are trusted.
func (in *Input) bound(set *int, dropIn int) int {
	switch {
	case set != nil:
		return *set
	case in.Executable != "":
		return dropIn
	}
	return 0
}

func (l *loader) checkHostOptions(s *nodefile.Section, t *hostOptions) {
	for key, d := range map[string]*nodefile.Duration{"interval": t.Interval, "gather_timeout": t.GatherTimeout} {
		if d != nil {
			l.positive(s, key, *d)
		}
	}
	for key, d := range map[string]*nodefile.Duration{
		"precision": t.Precision, "collection_jitter": t.CollectionJitter, "collection_offset": t.CollectionOffset,
	} {
		if d != nil {
			l.notNegative(s, key, *d)
		}
	}
	for key, n := range map[string]*int{"max_lines": t.MaxLines, "max_series": t.MaxSeries} {
		if n != nil && *n < 0 {
			l.fail(s.Errorf(key, "must not be negative; 0 is for no bound"))
		}
	}
	l.checkLogLevel(s, t.LogLevel)
	if !slices.Contains(timeSources, t.TimeSource) {
		l.fail(s.Errorf("time_source", "%q is none of metric, collection_start and collection_end", t.TimeSource))
	}
	for name := range t.PluginEnv {
		if !environment.MatchString(name) {
			l.fail(s.Errorf("plugin_env."+name, "is not the name of an environment variable"))
		}
	}
	l.checkName(s, t.NameOverride, t.NamePrefix, t.NameSuffix)
	l.checkTags(s, "tags.", t.Tags)
}

// checkName refuses what cannot stand in a measurement.
func (l *loader) checkName(s *nodefile.Section, parts ...string) {
	if strings.ContainsAny(strings.Join(parts, ""), "\r\n") {
		l.fail(s.Errorf("", "a name cannot hold a line break"))
	}
}

func (l *loader) checkLogLevel(s *nodefile.Section, level string) {
	if !slices.Contains(logLevels, level) {
		l.fail(s.Errorf("log_level", "%q is none of error, warn, info, debug and trace", level))
	}
}

// encode makes the collector's options what the section has.
func (in *Input) encode() (err error) {
	if in.TOML, err = in.section.TOML(); err == nil {
		in.JSON, err = in.section.JSON()
	}
	return err
}

// Coerce makes options that came from environment variables the numbers or
// booleans that they spell, since the collector refuses them as strings. It
// reports whether that has changed anything.
func (in *Input) Coerce(options ...string) bool {
	if in.section == nil {
		return false
	}
	s, changed := in.section.Clone(), false
	for _, o := range options {
		changed = o != "" && s.Coerce(o) || changed
	}
	if changed {
		in.section = s
		changed = in.encode() == nil
	}
	return changed
}

// resolve finds the collector of an input, built in or dropped in, and lets a
// built-in one check its options.
func (l *loader) resolve(a Agent, s *nodefile.Section, in *Input) {
	if !plugins.ValidName(s.Name) {
		l.fail(s.Errorf("", "a collector's name is made of small letters, digits and _, begins with a letter and has 32 characters at most"))
		return
	}
	found, err := a.Trust.Find(s.Name)
	if d, ok := l.builtin(s.Name); ok {
		if found != "" {
			l.warn(s.Errorf("", "the built-in collector of this name is used, not %s", found))
		}
		mistakes := plugins.Check(d, in.TOML)
		if in.Coerce(optionsOf(mistakes)...) {
			mistakes = plugins.Check(d, in.TOML)
		}
		for _, e := range mistakes {
			l.fail(s.Errorf(e.Option, "%s", e.Message))
		}
		return
	}
	in.Executable = found
	if err != nil {
		l.fail(s.Errorf("", "look for it: %v", err))
	}
}

func optionsOf(mistakes []plugins.OptionError) []string {
	var all []string
	for _, m := range mistakes {
		all = append(all, m.Option)
	}
	return all
}

func (l *loader) builtin(name string) (plugins.Description, bool) {
	for _, d := range l.Builtins {
		if d.Name == name || slices.Contains(d.Aliases, name) {
			return d, true
		}
	}
	return plugins.Description{}, false
}

// missing says of a collector that there is none what there is, where it was
// looked for, and what to do.
func (l *loader) missing(name string) string {
	known := map[string]bool{}
	for _, d := range l.Builtins {
		known[d.Name] = true
		for _, alias := range d.Aliases {
			known[alias] = true
		}
	}
	all := slices.Sorted(maps.Keys(known))
	var b strings.Builder
	b.WriteString("there is no such collector")
	if near := nodefile.Nearest(name, append(l.rules.Names(), all...)); near != "" {
		fmt.Fprintf(&b, "; did you mean [[inputs.%s]]?", near)
	} else {
		b.WriteString(".")
	}
	fmt.Fprintf(&b, " It is not built in (those are %s)", strings.Join(all, ", "))
	var tried []string
	for _, dir := range l.rules.Directories {
		tried = append(tried, "no "+filepath.Join(dir, trust.Prefix+name))
	}
	if len(tried) == 0 {
		b.WriteString(", and [agent] plugin_directory names no directory to look in")
		return b.String()
	}
	fmt.Fprintf(&b, ", and looking for an executable found %s. Put the program there under that name and make it executable, or correct the name",
		strings.Join(tried, " and "))
	return b.String()
}

func override[T ~int64](to *T, d *nodefile.Duration) {
	if d != nil {
		*to = T(*d)
	}
}
