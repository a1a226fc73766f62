package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rpicluster/vitals/agent/clock"
	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/output"
	"github.com/rpicluster/vitals/internal/service"
	"github.com/rpicluster/vitals/plugins"
)

// primeTime is what collectors that report differences need between their
// first reading and one that is worth anything.
const primeTime = 500 * time.Millisecond

// agent is the program with its configuration read.
type agent struct {
	flags      *flags
	log        *slog.Logger
	levels     levels
	secrets    blotter
	stdout     io.Writer
	logFile    io.Closer // nil: standard error
	started    time.Time
	runtimeDir string // of plugin sockets

	told signals

	outputs    outputs
	time       clock.Source
	clock      *clock.Gate // before the outputs
	supervisor *collect.Supervisor

	reloading sync.Mutex // one reload at a time

	mu           sync.Mutex
	config       *config.Config // replaced by a reload, never changed
	reloadErr    error          // of the last reload
	reloadFailed []string       // what went wrong when it was put into effect
}

// newAgent reads the node file. Nothing is started.
func newAgent(f *flags, stdout, stderr io.Writer) (*agent, error) {
	c, err := loadConfig(f)
	if err != nil {
		return nil, err
	}
	a := &agent{flags: f, config: c, stdout: stdout, started: time.Now(), time: clock.Machine()}
	how := c.Agent.Log
	if f.test {
		how.File = ""
	}
	if a.log, a.logFile, err = openLog(how, stderr, &a.levels, &a.secrets); err != nil {
		return nil, err
	}
	a.applyLog(c)
	for _, w := range c.Warnings {
		a.log.Warn(w)
	}
	for _, s := range c.Skipped {
		a.log.Warn(s)
	}
	return a, nil
}

// applyLog makes the log what a configuration wants it to be.
func (a *agent) applyLog(c *config.Config) {
	a.secrets.add(c.Secrets)
	own := map[string]slog.Level{}
	for _, in := range c.Inputs {
		if in.LogLevel != "" {
			own[in.ID] = slogLevel(in.LogLevel)
		}
	}
	for _, out := range c.Outputs {
		if out.LogLevel != "" {
			own[out.ID] = slogLevel(out.LogLevel)
		}
	}
	a.levels.set(level(a.flags, c), own)
}

// slogLevel is a log_level of the node file.
func slogLevel(name string) slog.Level {
	switch name {
	case "error":
		return slog.LevelError
	case "warn":
		return slog.LevelWarn
	case "debug":
		return slog.LevelDebug
	case "trace":
		return slog.LevelDebug - 4
	}
	return slog.LevelInfo
}

func (a *agent) close() {
	if a.logFile != nil {
		a.logFile.Close()
	}
}

// loadConfig reads the node file and words what is wrong with it.
func loadConfig(f *flags) (*config.Config, error) {
	sources, remote := config.Find(f.sources), f.fetcher()
	var warnings []string
	c, err := config.Read(sources, config.Options{
		Builtins: ownCollectors(), InputFilter: f.inputFilter, OutputFilter: f.outputFilter, NoOutputs: f.test,
		Select: f.selectors, SkipUnknown: f.skipUnknown,
		Fetch: func(url string) ([]byte, error) {
			body, warning, err := remote.fetch(url)
			if warning != "" {
				warnings = append(warnings, warning)
			}
			return body, err
		},
	})
	if c != nil {
		c.Warnings = append(c.Warnings, warnings...)
		c.Secrets = append(c.Secrets, passwords(sources.URLs())...)
	}
	if c == nil && errors.Is(err, fs.ErrNotExist) && f.sources.Empty() {
		return nil, config.Missing(sources)
	}
	return c, mistakes(err)
}

// mistakes puts several errors one below the other.
func mistakes(err error) error {
	var joined interface{ Unwrap() []error }
	if err == nil || !errors.As(err, &joined) || len(joined.Unwrap()) < 2 {
		return err
	}
	return fmt.Errorf("%d mistakes, nothing was started\n%w", len(joined.Unwrap()), err)
}

// checkConfig says whether the node file is sound. It starts drop-ins, for
// nobody else knows their options, but gathers nothing.
func checkConfig(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	c, err := loadConfig(f)
	var warnings []string
	var secrets blotter
	if c != nil {
		warnings = append(c.Warnings, c.Skipped...)
		secrets.add(c.Secrets)
	}
	if err == nil {
		var more []string
		more, err = checkDropIns(ctx, c)
		warnings = append(warnings, more...)
	}
	for _, w := range warnings {
		fmt.Fprintln(stderr, "warning:", secrets.blot(w))
	}
	if err != nil {
		return secrets.clean(err)
	}
	_, err = fmt.Fprintf(stdout, "%s: no mistake in the agent's part; it has %s and %s\n", c.Path, count(len(c.Inputs), "input"), count(len(c.Outputs), "output"))
	return err
}

// checkDropIns lets the drop-ins check their options. What they log is left
// out: where it matters, it is part of a warning.
func checkDropIns(ctx context.Context, c *config.Config) (warnings []string, err error) {
	dir, remove, err := socketDirectory()
	if err != nil {
		return nil, err
	}
	defer remove()
	warnings, err = collect.Check(ctx, collect.Config{
		Inputs: c.Inputs, Host: c.Host, LogLevel: "error", Runtime: dir, Logger: slog.New(slog.DiscardHandler),
		DropIns: c.Agent.Trust, Shim: []string{"/proc/self/exe", "exec-plugin"}, Limits: c.Agent.Limits,
	})
	return warnings, mistakes(err)
}

// count is "1 input", "2 inputs".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func level(f *flags, c *config.Config) slog.Level {
	switch {
	case f.debug || c.Agent.Debug:
		return slog.LevelDebug
	case f.quiet || c.Agent.Quiet:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// gathering is what the supervisor does by a configuration.
func (a *agent) gathering(c *config.Config) collect.Config {
	logLevel := "info"
	switch level(a.flags, c) {
	case slog.LevelDebug:
		logLevel = "debug"
	case slog.LevelError:
		logLevel = "error"
	}
	return collect.Config{
		Inputs: c.Inputs, Host: c.Host, Tags: c.Tags,
		RoundInterval: c.Agent.RoundInterval, LogLevel: logLevel,
		Builtin: []string{"/proc/self/exe", "plugin"}, Runtime: a.runtimeDir,
		Own:     []plugins.Description{internal(a.state)},
		DropIns: c.Agent.Trust, Shim: []string{"/proc/self/exe", "exec-plugin"}, Limits: c.Agent.Limits,
		Logger: a.log,
	}
}

// collect starts the plugin programs, for a single gather or for all that come.
func (a *agent) collect(ctx context.Context, sink collect.Sink, once bool) (err error) {
	c := a.gathering(a.config)
	c.Sink, c.Once = sink, once
	a.supervisor, err = collect.Start(ctx, c)
	return mistakes(err)
}

// open opens the outputs.
func (a *agent) open(directory string) error {
	a.outputs.open = a.opener(directory)
	for _, c := range a.config.Outputs {
		if err := a.outputs.add(c); err != nil {
			return err
		}
	}
	return nil
}

// testGather prints what every input has to say.
func (a *agent) testGather(ctx context.Context) error {
	var mu sync.Mutex // inputs that send events do so all at once
	out := bufio.NewWriter(a.stdout)
	sink := func(_ context.Context, lines []byte, _ int) {
		mu.Lock()
		defer mu.Unlock()
		for l := range strings.Lines(string(lines)) {
			fmt.Fprint(out, "> ", l)
		}
		_ = out.Flush() // whoever waits sees an event when it comes; the last one returns the error
	}
	err := a.gatherOnce(ctx, sink)
	return errors.Join(out.Flush(), err)
}

// once gathers, sends, and fails if something is left.
func (a *agent) once(ctx context.Context) error {
	if err := a.open(""); err != nil {
		return err
	}
	errs := []error{a.gatherOnce(ctx, a.outputs.deliver)}
	for _, o := range a.outputs.list() {
		errs = append(errs, o.Flush(ctx), o.Close(ctx), refused(o.Status()))
	}
	return errors.Join(errs...)
}

// refused tells of lines that the destination will never take.
func refused(s output.Status) error {
	if s.Rejected == 0 {
		return nil
	}
	were := "were"
	if s.Rejected == 1 {
		were = "was"
	}
	return fmt.Errorf("output %s: %s %s refused for good; the log says why", s.ID, count(int(s.Rejected), "line"), were)
}

func (a *agent) gatherOnce(ctx context.Context, sink collect.Sink) error {
	var remove func()
	var err error
	if a.runtimeDir, remove, err = socketDirectory(); err != nil {
		return err
	}
	defer remove()
	err = a.collect(ctx, sink, true)
	defer a.supervisor.Close()
	if err != nil {
		return err
	}
	select {
	case <-time.After(primeTime):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err = a.supervisor.GatherAll(ctx)
	if a.flags.testWait > 0 {
		waiting, cancel := context.WithTimeout(ctx, time.Duration(a.flags.testWait)*time.Second)
		defer cancel()
		a.supervisor.Run(waiting)
	}
	return err
}

// serve gathers and sends until ctx ends. Outputs outlive the collectors, so
// that the last lines are still taken in.
func (a *agent) serve(ctx context.Context) (err error) {
	var remove func()
	if a.runtimeDir, remove, err = socketDirectory(); err != nil {
		return err
	}
	defer remove()
	a.acceptRemote()
	removePID, err := writePID(a.flags.pidFile)
	if err != nil {
		return err
	}
	defer removePID()
	socket, err := a.listen(ctx)
	if err != nil {
		return err
	}
	defer socket.Close()
	a.clock = clock.New(a.config.Agent.Clock, a.time, a.outputs.deliver, a.log)
	refused := a.collect(ctx, a.clock.Deliver, false)
	defer a.supervisor.Close()
	if ctx.Err() != nil {
		a.log.Info("vitals-agent stops: it was told to while starting")
		return nil
	}
	if refused != nil { // a state, as that of a program that does not start
		a.log.Error("drop-ins refuse their options and are not gathered; the other inputs are", "error", refused)
	}
	if err := a.open(a.config.Agent.BufferDirectory); err != nil {
		return err
	}
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	a.outputs.run(sending)
	a.log.Info("vitals-agent runs", "version", version, "config", a.config.Path, "inputs", len(a.config.Inputs), "outputs", len(a.config.Outputs))
	defer a.answer(ctx, socket)() // from here on a reload may change the configuration
	service.Ready()
	var wg sync.WaitGroup
	wg.Go(func() { service.Watchdog(ctx, func() { a.status() }) })
	wg.Go(func() { a.watch(ctx, a.told.reload) })
	wg.Go(func() { a.flushWhenTold(ctx, a.told.flush) })
	wg.Go(func() { a.clock.Run(ctx) })
	a.supervisor.Run(ctx)
	a.log.Info("vitals-agent stops")
	service.Stopping()
	wg.Wait()
	a.clock.Close(context.WithoutCancel(ctx))
	stop()
	return a.outputs.wait()
}
