package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/builtin"
)

// collectorFile is what a command was pointed at: the file of a drop-in, or a
// collector that is built in.
type collectorFile struct {
	path    string // empty: built in
	builtin string // name of the collector
	refused error  // why the agent would not run the file
}

// findCollector finds what an argument names: a built-in collector, a file, or
// a drop-in in one of the plugin directories.
func findCollector(f *flags, word string) (collectorFile, error) {
	if d, ok := builtinCollector(word); ok {
		return collectorFile{builtin: d.Name}, nil
	}
	rules, err := rulesOf(f)
	if err != nil {
		return collectorFile{}, err
	}
	path, err := filepath.Abs(word)
	if err != nil {
		return collectorFile{}, err
	}
	if _, err := os.Stat(path); err != nil && strings.Contains(word, "/") {
		return collectorFile{}, err
	} else if err != nil {
		if path, err = rules.Find(word); err != nil {
			return collectorFile{}, errors.New(noCollector(word, rules))
		}
	}
	return collectorFile{path: path, refused: refusal(rules, path)}, nil
}

// noCollector says that word names nothing, and what may be meant.
func noCollector(word string, rules trust.Rules) string {
	var names []string
	for _, d := range builtin.All() {
		names = append(append(names, d.Name), d.Aliases...)
	}
	text := fmt.Sprintf("%s: there is no such file, no collector of this name is built in, and none is in %s",
		word, strings.Join(rules.Directories, " or "))
	if near := nodefile.Nearest(word, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return text
}

// refusal says why the agent would not run the file at path.
func refusal(rules trust.Rules, path string) error {
	file, err := rules.Verify(path)
	if err != nil {
		return err
	}
	file.Close()
	return nil
}

func builtinCollector(name string) (plugins.Description, bool) {
	all := builtin.All()
	i := slices.IndexFunc(all, func(d plugins.Description) bool {
		return d.Name == name || slices.Contains(d.Aliases, name)
	})
	if i < 0 {
		return plugins.Description{}, false
	}
	return all[i], true
}

// rulesOf are those of the node file, or the defaults where there is none. What
// else is wrong with the file does not matter here.
func rulesOf(f *flags) (trust.Rules, error) {
	c, err := loadConfig(f)
	if c == nil && f.config != "" {
		return trust.Rules{}, err
	}
	if c == nil {
		c, _ = config.Load(os.DevNull, config.Options{}) // an empty file has every default
	}
	return c.Agent.Trust, nil
}

// argv is how the agent starts it.
func (c collectorFile) argv() []string {
	if c.path == "" {
		return builtinArgv()
	}
	return []string{c.path}
}

func builtinArgv() []string { return []string{"/proc/self/exe", "plugin"} }

// warn tells of a file that the agent itself would not run.
func (c collectorFile) warn(stderr io.Writer) {
	if c.refused != nil {
		fmt.Fprintln(stderr, "warning: the agent would not run it:", c.refused)
	}
}

// start runs it as the agent would, until end is called.
func (c collectorFile) start(ctx context.Context, log *slog.Logger) (p *program.Process, end func(), err error) {
	dir, remove, err := socketDirectory()
	if err != nil {
		return nil, nil, err
	}
	p, err = program.Start(ctx, program.Command{
		Argv: c.argv(), Env: collect.BareEnvironment(os.Environ()), Sockets: dir, Log: log,
	})
	if err != nil {
		remove()
		return nil, nil, err
	}
	return p, func() { p.End(program.EndTimeout); remove() }, nil
}
