package collect

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

// instance makes an instance that belongs to no group yet.
func (s *Supervisor) instance(input config.Input) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	log := s.config.Logger.With("input", input.ID)
	return &instance{
		input: input, id: input.ID, log: log, aligned: s.config.RoundInterval, isolate: s.isolate,
		hangTime: cmp.Or(s.config.hangTime, hangTime),
		lines:    newRefiner(input, s.config.Tags, s.config.Sink, log),
		request: &proto.ConfigureRequest{
			InstanceId: fmt.Sprintf("%s~%d", input.ID, s.made), Hostname: s.config.Host,
			ConfigToml: input.TOML, ConfigJson: input.JSON, LogLevel: cmp.Or(input.LogLevel, s.config.LogLevel),
		},
	}
}

// place puts an instance into its group: that of its program, or one of its
// own if it is to be isolated. A group that is new waits for startGroups.
func (s *Supervisor) place(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, name := "built-in", "built-in"
	dropIn := in.input.Executable != ""
	switch {
	case dropIn:
		name = filepath.Base(in.input.Executable)
		key = name
	case s.ownName(in.input.Name):
		key, name = "own", "vitals-agent"
	case runsPrograms(in.input):
		key, name = "built-in programs", "built-in programs"
	}
	if in.input.Isolate && key != "own" {
		key = in.request.InstanceId
	}
	g := s.groups[key]
	if g == nil {
		g = s.group(name, in.input)
		g.alone = in.input.Isolate || key == "own"
		s.groups[key] = g
	}
	in.join(g)
}

func (s *Supervisor) ownName(name string) bool {
	return slices.ContainsFunc(s.config.Own, func(d plugins.Description) bool {
		return d.Name == name || slices.Contains(d.Aliases, name)
	})
}

// group makes the group of an input's program; mu is held.
func (s *Supervisor) group(name string, in config.Input) *group {
	cmd := program.Command{
		Argv: s.config.Builtin, Env: environment(os.Environ(), in), Sockets: s.config.Runtime,
		Timeout: s.config.startTimeout, Log: s.config.Logger.With("plugin", name),
		RunsPrograms: runsPrograms(in), Guards: in.Executable == "",
	}
	launch := func(ctx context.Context, file *trust.File) (*program.Process, error) {
		defer s.turns.take(ctx)()
		if file == nil {
			return program.Start(ctx, cmd)
		}
		from := s.dropInCommand(cmd)
		from.File, from.Argv = file, []string{file.Path}
		return program.Start(ctx, from)
	}
	if s.ownName(in.Name) && in.Executable == "" {
		local := program.Local(plugins.NewServer(s.config.Logger, s.config.Own...))
		launch = func(context.Context, *trust.File) (*program.Process, error) { return local, nil }
	}
	g := newGroup(name, launch, s.config.Logger)
	g.once, g.delay = s.config.Once, s.config.restartDelay
	if in.Executable != "" {
		g.file = &dropIn{name: strings.TrimPrefix(filepath.Base(in.Executable), trust.Prefix), rules: func() trust.Rules {
			rules := s.rules()
			rules.Path = searchPath(cmd.Env)
			return rules
		}}
	}
	return g
}

// dropInCommand adds to a command what drop-ins get, by the settings of now.
func (s *Supervisor) dropInCommand(cmd program.Command) program.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd.Shim, cmd.Limits = s.config.Shim, s.config.Limits
	cmd.Env = withPython(slices.Clone(cmd.Env))
	return cmd
}

// rules are those of now: a reload may change them.
func (s *Supervisor) rules() trust.Rules {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config.DropIns
}

// startGroups runs the groups that do not run yet.
func (s *Supervisor) startGroups() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		if g.stop == nil {
			s.run(g)
		}
	}
}

// run starts a group; mu is held.
func (s *Supervisor) run(g *group) {
	var ctx context.Context
	ctx, g.stop = context.WithCancel(s.ctx)
	s.wg.Go(func() { g.run(ctx) })
}

// isolate moves an instance out of the process it shares.
func (s *Supervisor) isolate(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := in.host()
	if old.alone || in.leaving {
		return // it has moved already, or is to go
	}
	g := s.group(old.name, in.input)
	g.alone = true
	in.join(g)
	s.groups[in.request.InstanceId] = g
	s.run(g)
	if s.quit(in, old) || known == nil {
		return
	}
	s.wg.Go(func() { in.release(known) })
}

// quit takes an instance out of a group, which ends with its last one; mu is
// held.
func (s *Supervisor) quit(in *instance, g *group) (ended bool) {
	if !g.remove(in) {
		return false
	}
	for key, one := range s.groups {
		if one == g {
			delete(s.groups, key)
		}
	}
	if g.stop != nil {
		g.stop()
	}
	return true
}

// turns lets as many programs start at once as there are processors, so that
// twenty of them do not make each other late. One that is slow for another
// reason holds up the next for a moment only.
type turns chan struct{}

// maxTurn is how long a start counts.
const maxTurn = time.Second

func newTurns() turns { return make(turns, max(2, runtime.NumCPU())) }

// take waits for a turn and returns what ends it.
func (t turns) take(ctx context.Context) (end func()) {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return func() {}
	}
	timer := time.AfterFunc(maxTurn, func() { <-t })
	return func() {
		if timer.Stop() {
			<-t
		}
	}
}
