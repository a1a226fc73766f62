package plugins

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/glob"
)

// Patterns tells the names that one of the patterns stands for. As in Telegraf,
// they are plain names unless one of them has a *, a ? or a [; then all of them
// may also have {this,that} and a backslash before what shall stand for itself.
func Patterns(patterns []string) (match func(name string) bool, err error) {
	if !slices.ContainsFunc(patterns, func(p string) bool { return strings.ContainsAny(p, "*?[") }) {
		return func(name string) bool { return slices.Contains(patterns, name) }, nil
	}
	var globs []*glob.Glob
	for _, p := range patterns {
		g, err := glob.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("%q is not a pattern: %w", p, err)
		}
		globs = append(globs, g)
	}
	return func(name string) bool {
		return slices.ContainsFunc(globs, func(g *glob.Glob) bool { return g.Match(name) })
	}, nil
}
