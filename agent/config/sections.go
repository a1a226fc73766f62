package config

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// sections returns the tables of a kind that are to be used: those of plugins
// that there are and that --select keeps, with the secrets in their options
// filled in.
func (l *loader) sections(kind string, filter []string) ([]*nodefile.Section, error) {
	all, err := l.file.Plugins(kind)
	if err != nil {
		return nil, err
	}
	var used []*nodefile.Section
	wanted := 0
	for _, s := range all {
		if !l.wanted(s) {
			continue
		}
		wanted++
		if !selected(filter, s.Name) { // not looked at, but named where none is left
			used = append(used, s)
		} else if l.known(kind, s.Name) {
			l.fillIn(s)
			used = append(used, s)
		} else {
			l.absent(kind, s)
		}
	}
	switch {
	case len(all) > 0 && wanted == 0:
		return nil, fmt.Errorf("--select leaves none of the %s of %s", kind, l.file.Name)
	case wanted > 0 && len(used) == 0 && l.SkipUnknown:
		return nil, fmt.Errorf("none of the %s of %s is one that vitals-agent has", kind, l.file.Name)
	case wanted > 0 && len(used) == 0:
		return nil, errSaid
	}
	return used, nil
}

// label is what the names and values of labels are made of.
var label = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// wanted takes the labels out of a table and reports whether --select keeps it.
// A table without labels is always kept.
func (l *loader) wanted(s *nodefile.Section) bool {
	var t struct {
		Labels map[string]string `toml:"labels"`
	}
	l.fail(s.Take("labels").Decode(&t))
	for name, value := range t.Labels {
		if !label.MatchString(name) || !label.MatchString(value) {
			l.fail(s.Errorf("labels."+name, "a label is made of letters, digits, dots, dashes and underscores"))
		}
	}
	if len(t.Labels) == 0 || len(l.Select) == 0 {
		return true
	}
	for _, selector := range l.Select {
		if selector.matches(t.Labels) {
			return true
		}
	}
	return false
}

// Selector is one --select: patterns for labels, all of which must match.
type Selector map[string]string

// ParseSelector reads "name=pattern;name2=pattern2". A pattern may hold * and ?.
func ParseSelector(text string) (Selector, error) {
	s := Selector{}
	for pair := range strings.SplitSeq(text, ";") {
		name, pattern, ok := strings.Cut(pair, "=")
		name, pattern = strings.TrimSpace(name), strings.TrimSpace(pattern)
		plain := strings.NewReplacer("*", "x", "?", "x").Replace(pattern)
		switch {
		case !ok || !label.MatchString(name) || !label.MatchString(plain):
			return nil, fmt.Errorf("%q is not a selector; write it as \"label=value\", with \";\" between several, and * and ? in values", pair)
		case s[name] != "":
			return nil, fmt.Errorf("%q names the label %s twice; repeat the flag to select either", text, name)
		}
		s[name] = pattern
	}
	return s, nil
}

func (s Selector) matches(labels map[string]string) bool {
	for name, pattern := range s {
		value, ok := labels[name]
		if matched, err := path.Match(pattern, value); !ok || !matched || err != nil {
			return false
		}
	}
	return true
}
