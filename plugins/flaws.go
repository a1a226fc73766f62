package plugins

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/plugins/proto"
)

// HostKeys are the options of every [[inputs.*]] table that the host acts on
// itself, Telegraf's filters included. No collector is ever given one, so none
// may call an option of its own so.
func HostKeys() []string {
	return []string{
		"alias", "interval", "precision", "collection_jitter", "collection_offset", "time_source",
		"gather_timeout", "isolate", "log_level", "plugin_env", "max_lines", "max_series", "startup_error_behavior",
		"name_override", "name_prefix", "name_suffix", "tags", "labels", "always_include_local_tags",
		"namepass", "namedrop", "namepass_separator", "namedrop_separator", "tagpass", "tagdrop",
		"metricpass", "fieldinclude", "fieldexclude", "fieldpass", "fielddrop", "pass", "drop",
		"taginclude", "tagexclude",
	}
}

// ValidName reports whether a collector may be called so: small letters, digits
// and _, a letter first, 32 at most.
func ValidName(name string) bool {
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' }
	return name != "" && len(name) <= 32 && name[0] >= 'a' && name[0] <= 'z' && !strings.ContainsFunc(name, odd)
}

// Flaws are what keeps a host from using a program that describes itself so:
// names that no table can have or that two collectors share, and options that
// are the host's.
func Flaws(r *proto.DescribeReply) []error {
	if len(r.Collectors) == 0 {
		return []error{errors.New("it collects nothing")}
	}
	var flaws []error
	owner := map[string]string{}
	for _, c := range r.Collectors {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			other, taken := owner[name]
			switch {
			case !ValidName(name):
				flaws = append(flaws, fmt.Errorf("a collector cannot be called %q: a name is made of small letters, digits and _, begins with a letter and has 32 characters at most", name))
			case taken:
				flaws = append(flaws, fmt.Errorf("two collectors are called %q: %s and %s", name, other, c.Name))
			}
			owner[name] = c.Name
		}
		if every := time.Duration(c.DefaultIntervalNs); every != 0 && every < minInterval {
			flaws = append(flaws, fmt.Errorf("%s: it wants to be gathered every %v; %v is the least", c.Name, every, minInterval))
		}
		flaws = append(flaws, optionFlaws(c)...)
	}
	return flaws
}

// minInterval is the least that a collector may ask for by itself, so that
// none keeps its host busy.
const minInterval = 100 * time.Millisecond

func optionFlaws(c *proto.CollectorDescription) []error {
	var flaws []error
	host := HostKeys()
	for i, o := range c.Options {
		switch {
		case slices.Contains(host, o):
			flaws = append(flaws, fmt.Errorf("%s: the option %q is the agent's in every table and would never reach the collector; call it something else", c.Name, o))
		case o == "":
			flaws = append(flaws, fmt.Errorf("%s: an option without a name", c.Name))
		case slices.Contains(c.Options[:i], o):
			flaws = append(flaws, fmt.Errorf("%s: two options are called %q", c.Name, o))
		}
	}
	return flaws
}

// usable says why descriptions cannot be served. A host finds their flaws itself,
// and can say which of its rules they break.
func usable(all []Description, hosted bool) error {
	var r proto.DescribeReply
	for _, d := range all {
		if d.New == nil {
			return fmt.Errorf("the collector %q has no New", d.Name)
		}
		r.Collectors = append(r.Collectors, describe(d))
	}
	if hosted {
		return nil
	}
	return errors.Join(Flaws(&r)...)
}
