package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/rpicluster/vitals/plugins/proto"
)

func optionItems() []item {
	const answer = "is answered by Configure with an OptionError that names the option"
	return []item{
		{name: "unknown option", check: unknownOption, contract: "an option that there is none of " + answer},
		{name: "wrong type", check: wrongType, contract: "a value of a type that the option does not have " + answer},
		{name: "garbage as options", check: garbage,
			contract: "options that are neither TOML nor JSON are answered by Configure with an OptionError"},
		{name: "unknown collector", check: unknownCollector,
			contract: "a collector that the program does not have is answered by Configure with an OptionError"},
	}
}

// notThere is an option that no collector has.
const notThere = "vitals_check_not_there"

func unknownOption(ctx context.Context, c *check, v *verdict) {
	for _, s := range c.subjects {
		c.mustRefuse(ctx, s, notThere, with(s, notThere, true), v)
	}
}

// wrongType gives every option whose type is known from the sample another one.
func wrongType(ctx context.Context, c *check, v *verdict) {
	var tried, unknown int
	for _, s := range c.subjects {
		for _, o := range s.described.Options {
			value, ok := s.known[o]
			if !ok {
				unknown++
				continue
			}
			tried++
			c.mustRefuse(ctx, s, o, with(s, o, ofAnotherType(value)), v)
		}
	}
	v.note = fmt.Sprintf("%d tried", tried)
	if unknown > 0 {
		v.note += fmt.Sprintf("; of %d the sample shows no value", unknown)
	}
}

// ofAnotherType is a value that nobody takes for one like value: a table, or a
// number where there is a table already.
func ofAnotherType(value any) any {
	switch value.(type) {
	case map[string]any, []map[string]any:
		return 7
	}
	return map[string]any{notThere: true}
}

// with is the options of a collector with one of them changed.
func with(s *subject, option string, value any) table {
	options := map[string]any{}
	if len(s.tables) > 0 {
		_, _ = toml.Decode(string(s.tables[0].toml), &options) // we have written it
	}
	options = maps.Clone(options)
	options[option] = value
	return values(options)
}

// mustRefuse configures an instance with an option that is wrong.
func (c *check) mustRefuse(ctx context.Context, s *subject, option string, t table, v *verdict) {
	id := c.id()
	defer c.release(ctx, id)
	_, err := c.configure(ctx, id, s, t)
	refused, ok := errors.AsType[refusal](err)
	names := func(e *proto.OptionError) bool { return e.Option == option || strings.HasPrefix(e.Option, option+".") }
	switch {
	case err == nil:
		v.fail("%s: it accepts %s", s.name(), strings.TrimSpace(string(t.json)))
	case !ok:
		v.fail("%s: given %s: %v", s.name(), strings.TrimSpace(string(t.json)), err)
	case !slices.ContainsFunc(refused, names):
		v.warn("%s: what it says does not name the option %s: %v", s.name(), option, err)
	}
}

// garbage gives bytes that are nothing, and nothing that is nearly something.
func garbage(ctx context.Context, c *check, v *verdict) {
	for _, s := range c.subjects {
		for _, bytes := range []string{"\x00\xff\xfe\x80garbage\x00", "[[[[", "{\"a\":"} {
			id := c.id()
			_, err := c.configure(ctx, id, s, table{toml: []byte(bytes), json: []byte(bytes)})
			c.release(ctx, id)
			if _, ok := errors.AsType[refusal](err); err == nil {
				v.fail("%s: it accepts %q", s.name(), bytes)
			} else if !ok {
				v.fail("%s: given %q: %v", s.name(), bytes, err)
			}
		}
	}
}

func unknownCollector(ctx context.Context, c *check, v *verdict) {
	nobody := &subject{described: &proto.CollectorDescription{Name: notThere}}
	id := c.id()
	defer c.release(ctx, id)
	_, err := c.configure(ctx, id, nobody, values(nil))
	if _, ok := errors.AsType[refusal](err); err == nil {
		v.fail("it configures a collector called %s", notThere)
	} else if !ok {
		v.fail("%v", err)
	}
}
