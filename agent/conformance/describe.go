package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

func describeItems() []item {
	return []item{
		{name: "names and options", check: names,
			contract: "a name is small letters, digits and _, begins with a letter, has 32 characters at most and belongs to one collector; an option is named once and is none of the agent's, such as interval or tags"},
		{name: "sample", check: sample,
			contract: "sample_config is a complete [[inputs.NAME]] table with every option and its default, and Configure accepts it"},
	}
}

// subject is one collector and the options with which it is tried.
type subject struct {
	described *proto.CollectorDescription
	// tables are options that it has accepted; the first is used unless two are
	// asked for. Empty: none are known.
	tables []table
	// known are values of its options, as its sample shows them.
	known map[string]any
	// replies are what the item that gathers has got.
	replies []*proto.GatherReply
}

func (s *subject) name() string { return s.described.Name }

func (s *subject) streams() bool { return s.described.Kind == proto.Kind_KIND_STREAM }

// table is the options of one instance, in both forms.
type table struct{ toml, json []byte }

func newTable(s *nodefile.Section) (table, error) {
	var t table
	var err error
	if t.toml, err = s.TOML(); err == nil {
		t.json, err = s.JSON()
	}
	return t, err
}

// values makes a table of options.
func values(options map[string]any) table {
	var none nodefile.Section
	none.Values = options
	if none.Values == nil {
		none.Values = map[string]any{}
	}
	t, err := newTable(&none)
	if err != nil {
		return table{json: []byte("{}")}
	}
	return t
}

func names(_ context.Context, c *check, v *verdict) {
	for _, flaw := range plugins.Flaws(c.reply) {
		v.fail("%v", flaw)
	}
	for _, s := range c.subjects {
		d := s.described
		for _, name := range append([]string{d.Name}, d.Aliases...) {
			if c.Only == "" && c.BuiltIn != nil && c.BuiltIn(name) {
				v.warn("the agent has a collector called %s built in, and uses that", name)
			}
		}
		if d.Description == "" {
			v.warn("%s: it has no description", d.Name)
		}
		if len(d.Measurements) == 0 {
			v.warn("%s: it names no measurements; \"*\" stands for any", d.Name)
		}
	}
}

// sample configures each collector from its sample, and from the tables that
// were given for it, and keeps what it accepts.
func sample(ctx context.Context, c *check, v *verdict) {
	for _, s := range c.subjects {
		s.known = commented(s.described)
		section, err := sampleOf(s.described)
		if err == nil {
			maps.Copy(s.known, section.Values)
			s.mentions(v)
			err = c.try(ctx, s, section)
		}
		s.judge(section, err, v)
		c.given(ctx, s, v)
		if len(s.tables) == 0 && c.try(ctx, s, nil) != nil {
			v.warn("%s: without options that it accepts, nothing more is tried with it; give some with --config", s.name())
		}
	}
}

// judge tells a sample that leaves out what only the owner can say from one
// that is wrong.
func (s *subject) judge(sample *nodefile.Section, err error, v *verdict) {
	missing, refused := errors.AsType[refusal](err)
	atFault := func(e *proto.OptionError) bool { return e.Option == "" || sample.Has(e.Option) }
	switch {
	case err == nil:
	case refused && !slices.ContainsFunc(missing, atFault):
		v.warn("%s: its sample needs something set: %v", s.name(), err)
	default:
		v.fail("%s: its sample: %v", s.name(), err)
	}
}

// given configures a collector from the tables of --config, which go before its
// sample.
func (c *check) given(ctx context.Context, s *subject, v *verdict) {
	fromSample := s.tables
	s.tables = nil
	for _, given := range c.Tables {
		if answers(s.described, given.Name) {
			maps.Copy(s.known, given.Values)
			if err := c.try(ctx, s, given); err != nil {
				v.fail("%v", given.Errorf("", "%v", err))
			}
		}
	}
	if len(s.tables) == 0 {
		s.tables = fromSample
	}
}

// mentions looks for every option in the sample.
func (s *subject) mentions(v *verdict) {
	var missing []string
	for _, o := range s.described.Options {
		if !regexp.MustCompile(`(?m)^[\s#\[]*(inputs\.\w+\.)?` + regexp.QuoteMeta(o) + `\s*[=\]]`).MatchString(s.described.SampleConfig) {
			missing = append(missing, o)
		}
	}
	if len(missing) > 0 {
		v.warn("%s: its sample does not show %s", s.name(), strings.Join(missing, ", "))
	}
}

// refusal is what a collector finds wrong with its options.
type refusal []*proto.OptionError

// Error joins all.
func (r refusal) Error() string {
	var all []string
	for _, e := range r {
		all = append(all, strings.TrimPrefix(e.Option+": "+e.Message, ": "))
	}
	return "refused: " + strings.Join(all, "; ")
}

// try configures an instance from a table, and keeps the table if it is taken.
func (c *check) try(ctx context.Context, s *subject, from *nodefile.Section) error {
	t := values(nil)
	if from != nil {
		from.Take(plugins.HostKeys()...)
		var err error
		if t, err = newTable(from); err != nil {
			return err
		}
	}
	id := c.id()
	defer c.release(ctx, id)
	if _, err := c.configure(ctx, id, s, t); err != nil {
		return err
	}
	s.tables = append(s.tables, t)
	return nil
}

// sampleOf reads the sample as the agent reads a node file.
func sampleOf(d *proto.CollectorDescription) (*nodefile.Section, error) {
	f, err := nodefile.Parse("sample_config", []byte(d.SampleConfig))
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	all, err := f.Plugins("inputs")
	if err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	for _, s := range all {
		if answers(d, s.Name) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("it has no table [[inputs.%s]]", d.Name)
}

// answers reports whether a collector is configured under a name.
func answers(d *proto.CollectorDescription, name string) bool {
	return d.Name == name || slices.Contains(d.Aliases, name)
}

var assignment = regexp.MustCompile(`(?m)^\s*#\s*(([A-Za-z0-9_]+)\s*=.*)$`)

// commented are the values of options that the sample shows commented out, each
// in one line.
func commented(d *proto.CollectorDescription) map[string]any {
	shown := map[string]any{}
	for _, m := range assignment.FindAllStringSubmatch(d.SampleConfig, -1) {
		var one map[string]any
		if _, err := toml.Decode(m[1], &one); err == nil && slices.Contains(d.Options, m[2]) {
			shown[m[2]] = one[m[2]]
		}
	}
	return shown
}

// configureTime is how long Configure may take.
const configureTime = 5 * time.Second

// configure makes an instance; the error is a refusal where options are wrong.
func (c *check) configure(ctx context.Context, id string, s *subject, t table) (*proto.ConfigureReply, error) {
	return c.configureFor(ctx, hostname, id, s, t)
}

// hostname is what collectors are told that the machine is called.
const hostname = "vitals-check"

func (c *check) configureFor(ctx context.Context, host, id string, s *subject, t table) (*proto.ConfigureReply, error) {
	ctx, cancel := context.WithTimeout(ctx, configureTime)
	defer cancel()
	r, err := c.process.Configure(ctx, &proto.ConfigureRequest{
		InstanceId: id, Collector: s.name(), ConfigToml: t.toml, ConfigJson: t.json, Hostname: host, LogLevel: "info",
	})
	if err != nil {
		return nil, fmt.Errorf("Configure: %w", plain(err))
	}
	if len(r.Errors) > 0 {
		return nil, refusal(r.Errors)
	}
	return r, nil
}

func (c *check) release(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, configureTime)
	defer cancel()
	_, _ = c.process.Release(ctx, &proto.ReleaseRequest{InstanceId: id})
}
