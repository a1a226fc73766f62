package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/self"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/builtin"
)

// collectorFile is what a command was pointed at: the file of a drop-in, or a
// collector that is built in.
type collectorFile struct {
	builtin string // name of the collector; empty: a file
	path    string
	rules   trust.Rules
	limits  program.Limits
	refused error // why the agent would not run the file
}

// findCollector finds what an argument names: a built-in collector, a file, or
// a drop-in in one of the plugin directories.
func findCollector(f *flags, word string) (collectorFile, error) {
	if d, ok := builtinCollector(word); ok {
		return collectorFile{builtin: d.Name}, nil
	}
	agent, err := agentTable(f)
	if err != nil && !f.sources.Empty() {
		return collectorFile{}, err
	}
	rules := agent.Trust
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
	c := collectorFile{path: path, rules: rules, limits: agent.Limits, refused: refusal(rules, path)}
	if c.refused != nil && !f.force && os.Geteuid() == 0 {
		return c, fmt.Errorf("the agent would not run it, and it is not run here as root either, unless with --force: %s", shown(c.refused.Error()))
	}
	return c, nil
}

// noCollector says that word names nothing, and what may be meant.
func noCollector(word string, rules trust.Rules) string {
	var names []string
	for _, d := range ownCollectors() {
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

// ownCollectors are those that the agent has without any file.
func ownCollectors() []plugins.Description { return append(builtin.All(), internal(nil)) }

// internal is the collector that the agent answers itself.
func internal(read func() self.State) plugins.Description { return self.Description(version, read) }

func builtinCollector(name string) (plugins.Description, bool) {
	all := ownCollectors()
	i := slices.IndexFunc(all, func(d plugins.Description) bool {
		return d.Name == name || slices.Contains(d.Aliases, name)
	})
	if i < 0 {
		return plugins.Description{}, false
	}
	return all[i], true
}

// agentTable is that of the node file, or its defaults where there is none, or
// none that can be read: the error is for those whom the defaults do not serve.
// What else is wrong with the file does not matter here.
func agentTable(f *flags) (config.Agent, error) {
	c, err := loadConfig(f)
	if c != nil {
		return c.Agent, nil
	}
	c, _ = config.Load(os.DevNull, config.Options{}) // an empty file has every default
	if f.sources.Empty() && errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return c.Agent, err
}

// warn tells of a file that the agent itself would not run.
func (c collectorFile) warn(stderr io.Writer) {
	if c.refused != nil {
		fmt.Fprintln(stderr, "warning: the agent would not run it:", shown(c.refused.Error()))
	}
}

// byHand is how a person starts it.
func (c collectorFile) byHand() []string {
	if c.path == "" {
		return []string{"/proc/self/exe", "plugin"}
	}
	if c.refused != nil {
		return c.limits.Command(shim(), c.path)
	}
	return []string{c.path}
}

// argv is how the agent starts it.
func (c collectorFile) argv() []string {
	if c.path == "" {
		return c.byHand()
	}
	return c.limits.Command(shim(), c.path)
}

// start runs it as the agent would, also a file that the agent would not run.
func (c collectorFile) start(ctx context.Context, sockets string, log *slog.Logger) (*program.Process, error) {
	cmd := program.Command{Argv: c.byHand(), Env: collect.BareEnvironment(os.Environ()), Sockets: sockets, Log: log}
	if c.path != "" {
		file, err := c.open()
		if err != nil {
			return nil, err
		}
		defer file.Close()
		cmd.Argv = []string{c.path}
		cmd.File, cmd.Shim, cmd.Limits = file, shim(), c.limits
	}
	return program.Start(ctx, cmd)
}

// open opens the file to run, as the agent would if it may be run.
func (c collectorFile) open() (*trust.File, error) {
	if c.refused != nil {
		return trust.Unverified(c.path)
	}
	return c.rules.Verify(c.path)
}

// shim is the command that puts a program under its limits.
func shim() []string { return []string{"/proc/self/exe", "exec-plugin"} }
