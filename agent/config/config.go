// Package config turns a node file into what the agent runs: its settings,
// one Input for every [[inputs.*]] table and one Output for every
// [[outputs.*]] table, all checked.
//
// It reads Telegraf's language. What Telegraf has and this agent does not is
// refused with a sentence, never ignored; every mistake found is reported.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/agent/selection"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/plugins"
)

// Config is a checked configuration.
type Config struct {
	Path     string // of the node file; of several, all with a comma between
	Sources  Sources
	Agent    Agent
	Host     string // value of the host tag; empty if it is omitted
	Tags     map[string]string
	Inputs   []Input
	Outputs  []Output
	Warnings []string // accepted, but probably not meant
	Skipped  []string // tables of plugins that there are not, where that is allowed
	// Secrets are values that nothing may show: see Redactor.
	Secrets []string
}

// Input is one [[inputs.NAME]] table: the host's options, and the collector's
// in the two forms in which a plugin may read them.
type Input struct {
	ID       string // unique: "cpu", "cpu::alias", "cpu#2"
	Name     string // as configured
	Alias    string
	Interval time.Duration
	// IntervalSet is false if the interval is the agent's, so that the
	// collector's own default comes first.
	IntervalSet    bool
	Precision      time.Duration // 0: derived from the interval
	Jitter, Offset time.Duration
	GatherTimeout  time.Duration // 0: the default
	// GatherTimeoutSet is true if the input has its own: then the collector
	// cannot ask for more.
	GatherTimeoutSet bool
	Isolate          bool
	LogLevel         string
	// TimeSource is "collection_start" or "collection_end" if lines are stamped
	// with that time, whatever their own is.
	TimeSource     string
	Env            map[string]string
	NameOverride   string
	Prefix, Suffix string
	Tags           map[string]string // the input's own
	Filter         *selection.Filter
	// AlwaysLocalTags and AlwaysGlobalTags are the agent's.
	AlwaysLocalTags, AlwaysGlobalTags bool
	TOML, JSON                        []byte // the collector's options
	Executable                        string // empty: built in
	// MaxLines bounds one answer, and MaxSeries the series of an hour; 0: no
	// bound.
	MaxLines, MaxSeries int
	section             *nodefile.Section
}

// Errorf locates a mistake that the collector found at one of its options.
func (in *Input) Errorf(option, format string, args ...any) error {
	if in.section == nil {
		return fmt.Errorf("inputs."+in.Name+": "+option+": "+format, args...)
	}
	return in.section.Errorf(option, format, args...)
}

// Options says what a configuration is read for.
type Options struct {
	Builtins []plugins.Description
	// InputFilter and OutputFilter keep only the plugins of these names.
	InputFilter, OutputFilter []string
	// NoOutputs leaves the outputs unread, as for a test gather.
	NoOutputs bool
	// Select keeps only the tables whose labels one of them matches.
	Select []Selector
	// Fetch reads a file that is given by its URL.
	Fetch func(url string) ([]byte, error)
	// SkipUnknown leaves out plugins that there are not.
	SkipUnknown bool
}

// Load reads the node file at path.
func Load(path string, o Options) (*Config, error) { return Read(Sources{Files: []string{path}}, o) }

// Read reads all files of the sources as one. The error holds every mistake
// found, in the order of their places; without a configuration nothing could
// be read at all.
func Read(s Sources, o Options) (*Config, error) {
	paths, warnings, err := s.list()
	if err != nil {
		return nil, err
	}
	files, err := nodefile.LoadAll(o.Fetch, paths...)
	l := &loader{file: files, Options: o}
	l.fail(err)
	if files == nil {
		return nil, l.err()
	}
	l.warnings = append(warnings, files.Warnings...)
	c := l.load()
	c.Path, c.Sources = files.Name, s
	c.Skipped, c.Secrets = l.skipped, l.secrets
	blot := Redactor(l.secrets)
	for _, w := range l.warnings {
		c.Warnings = append(c.Warnings, blot.Replace(w))
	}
	return c, l.err()
}

type loader struct {
	Options
	file     *nodefile.Files
	warnings []string
	errs     []error

	rules      trust.Rules
	storesByID map[string]store
	secrets    []string
	skipped    []string
	unknown    []string // plugins that there are not
}

func (l *loader) fail(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			l.fail(e)
		}
	} else if err != nil && err != errSaid {
		l.errs = append(l.errs, err)
	}
}

func (l *loader) warn(err error) { l.warnings = append(l.warnings, err.Error()) }

// err is everything that is wrong, without the secrets that it may quote.
func (l *loader) err() error {
	slices.SortStableFunc(l.errs, nodefile.ByPlace)
	blot := Redactor(l.secrets)
	for i, err := range l.errs {
		if text := err.Error(); blot.Replace(text) != text {
			l.errs[i] = errors.New(blot.Replace(text))
		}
	}
	joined := errors.Join(l.errs...)
	if advice := l.whatToDo(); advice != "" {
		return advised{joined, advice}
	}
	return joined
}

// advised is mistakes and, once for all of them, what to do.
type advised struct {
	error
	advice string
}

// Error implements error.
func (e advised) Error() string { return e.error.Error() + "\n" + e.advice }

// Unwrap returns the mistakes.
func (e advised) Unwrap() []error { return e.error.(interface{ Unwrap() []error }).Unwrap() }

func (l *loader) load() *Config {
	l.storesByID = l.stores()
	c := &Config{Agent: l.agent()}
	c.Tags = l.globalTags(c.Agent)
	c.Host = c.Tags["host"]
	l.rules = c.Agent.Trust
	for _, kind := range []string{"processors", "aggregators"} {
		if _, err := l.sections(kind, nil); !l.SkipUnknown {
			l.fail(err)
		}
	}
	c.Inputs = l.inputs(c.Agent)
	if !l.NoOutputs {
		c.Outputs = l.outputs(c.Agent)
	}
	return c
}

// globalTags merges [global_tags] and [tags], its older name, and adds the
// host's name unless a tag of that name is given.
func (l *loader) globalTags(a Agent) map[string]string {
	tags := map[string]string{}
	for _, name := range []string{"tags", "global_tags"} {
		s, ok := l.file.Table(name)
		if !ok {
			continue
		}
		if name == "tags" {
			l.warn(s.Errorf("", "is an old name; write [global_tags]"))
		}
		l.fillIn(s)
		l.fail(s.Decode(&tags))
		l.checkTags(s, "", tags)
	}
	if _, given := tags["host"]; !given && a.Hostname != "" {
		tags["host"] = a.Hostname
	}
	return tags
}

// checkTags refuses what cannot stand in a tag.
func (l *loader) checkTags(s *nodefile.Section, prefix string, tags map[string]string) {
	for k, v := range tags {
		if strings.ContainsAny(k+v, "\r\n") {
			l.fail(s.Errorf(prefix+k, "a tag cannot hold a line break"))
		}
	}
}

// selected reports whether a plugin of this name passes a --…-filter.
func selected(filter []string, name string) bool {
	return len(filter) == 0 || slices.Contains(filter, name)
}

// DefaultBufferDirectory is where the agent's outputs keep what could not be
// sent: below systemd's state directory if there is one.
func DefaultBufferDirectory() string {
	if state := os.Getenv("STATE_DIRECTORY"); state != "" {
		first, _, _ := strings.Cut(state, ":")
		return filepath.Join(first, "buffer")
	}
	return "/var/lib/vitals/agent/buffer"
}
