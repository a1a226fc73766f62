package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/join"
	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/rights"
)

const joinHelp = `Makes this machine a node of the relay at URL. It asks for the code of an invite, which
vitals-relay invite prints on the primary; gets a token of its own for it; writes the node
file; starts the agent; and waits until the relay has stored its first lines. Broken off,
it goes on from there when it is called again.

  --pin PIN         the relay's key, as the invite shows it: sha256//…
  --name NAME       the node's name, instead of the machine's host name
  --code-file FILE  read the code from the first line of FILE; "-": standard input. A code is
                    never an argument: those are in the shell's history and in every list of
                    processes
  --config FILE     write the node file there, instead of /etc/vitals/node.toml
  --force           replace a node file that join has not written; a copy stays beside it
`

const leaveHelp = `Sends what waits, stops the agent, has the relay forget this node's token, and removes
token, node file and buffer. A node file that was there before comes back. Broken
off, it goes on from there when it is called again.

  --force    also when the relay cannot be reached, and lines that wait are given up
`

const upgradeHelp = `Fetches the version of vitals-agent that the relay hands out, checks it, installs it and
starts the agent anew. If the new version has no write answered within a minute, the one
before is put back. That one is kept in /var/lib/vitals/previous.

  --check     say which version the relay has, and change nothing
  --rollback  go back to the version before
  --force     install the relay's version also if it is older, or the same
`

// askJoin makes this machine a node of a relay.
func askJoin(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	if _, err := join.Dial(f.args[0], f.pin); err != nil {
		return usageError{err}
	}
	s, err := f.setup(stdout, stderr)
	if err != nil {
		return err
	}
	return s.Join(ctx, join.Options{
		URL: f.args[0], Pin: f.pin, Name: f.name, Force: f.force, Code: join.CodeFrom(f.codeFile, os.Stdin),
	})
}

// askLeave undoes that.
func askLeave(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	s, err := f.setup(stdout, stderr)
	if err != nil {
		return err
	}
	return s.Leave(ctx, f.force)
}

// askUpgrade replaces this program by the relay's version of it.
func askUpgrade(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	s, err := f.setup(stdout, stderr)
	if err != nil {
		return err
	}
	s.Apart = func(ctx context.Context) error { return finishApart(ctx, s.NodeFile, stdout, stderr) }
	return s.Upgrade(ctx, join.UpgradeOptions{Check: f.check, Rollback: f.rollback, Force: f.force})
}

// finishApart goes on with an upgrade in a session of its own, which a terminal
// that is closed does not end. Told to stop, it puts back what it has replaced.
func finishApart(ctx context.Context, nodeFile string, stdout, stderr io.Writer) error {
	cmd := exec.Command("/proc/self/exe", "upgrade", "--config", nodeFile)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })()
	err := cmd.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.Exited() {
		return errQuiet // it has said why
	}
	return err
}

// setup is what joining, leaving and upgrading work on here.
func (f *flags) setup(stdout, stderr io.Writer) (*join.Setup, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root may do this; try again with sudo")
	}
	nodeFile := config.DefaultPath
	switch files := f.sources.Files; {
	case len(files) > 1 || len(f.sources.Directories) > 0:
		return nil, errors.New("one --config FILE is what this can take")
	case len(files) == 1:
		if strings.Contains(files[0], "://") {
			return nil, errors.New("--config names a file here, not a URL")
		}
		var err error
		if nodeFile, err = filepath.Abs(files[0]); err != nil {
			return nil, err
		}
	}
	return &join.Setup{
		NodeFile: nodeFile, Version: version, Out: stdout, Patience: time.Minute,
		Agent: local{stderr: stderr}, Service: join.Systemd{},
	}, nil
}

// local is the agent of this machine: as it runs, or this program in its place.
type local struct{ stderr io.Writer }

var _ join.Agent = local{}

// Check says what is wrong with a node file.
func (local) Check(nodeFile string) error {
	_, err := loadConfig(reading(nodeFile))
	return err
}

func reading(nodeFile string) *flags {
	return &flags{sources: config.Sources{Files: []string{nodeFile}}, quiet: true}
}

// Once gathers and sends. A collector that fails is told of, no more.
func (l local) Once(ctx context.Context, nodeFile string) error {
	a, err := newAgent(reading(nodeFile), io.Discard, l.stderr)
	if err != nil {
		return err
	}
	defer a.close()
	if err := a.open(""); err != nil {
		return err
	}
	gathered := a.gatherOnce(ctx, a.outputs.deliver)
	var written int64
	var errs []error
	for _, o := range a.outputs.list() {
		errs = append(errs, o.Flush(ctx), o.Close(ctx), refused(o.Status()))
		written += o.Status().Written
	}
	err = errors.Join(errs...)
	if err == nil && written == 0 {
		err = errors.Join(gathered, errors.New("no line was gathered"))
	} else if gathered != nil {
		fmt.Fprintln(l.stderr, "vitals-agent:", shownLines(a.secrets.clean(gathered).Error()))
	}
	return a.secrets.clean(err)
}

// Drain sends what the buffers hold.
func (l local) Drain(ctx context.Context, nodeFile string) (left int64, err error) {
	a, err := newAgent(reading(nodeFile), io.Discard, l.stderr)
	if err != nil {
		return 0, err
	}
	defer a.close()
	directory := a.config.Agent.BufferDirectory
	err = rights.AsOwner(directory, func() error {
		if _, err := os.Stat(directory); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		left, err = a.drain(ctx, directory)
		return err
	})
	return left, a.secrets.clean(err)
}

// drain sends what is in the buffers of a directory.
func (a *agent) drain(ctx context.Context, directory string) (left int64, err error) {
	if err := a.open(directory); err != nil {
		return 0, err
	}
	var errs []error
	for _, o := range a.outputs.list() {
		if why := o.Status().Buffer; why != "" {
			errs = append(errs, errors.New(why)) // nobody knows what is in it
		}
		errs = append(errs, o.Flush(ctx))
		left += o.Held()
		errs = append(errs, o.Close(ctx))
	}
	return left, errors.Join(errs...)
}

// Discard removes the buffers of a node file's outputs.
func (local) Discard(nodeFile string) error {
	c, err := loadConfig(reading(nodeFile))
	if c == nil {
		return err
	}
	directory := c.Agent.BufferDirectory
	return rights.AsOwner(directory, func() error {
		for _, o := range c.Outputs {
			if err := os.RemoveAll(filepath.Join(directory, o.ID)); err != nil {
				return err
			}
		}
		_ = os.Remove(directory) // unless something else is in it
		return nil
	})
}

// Target is the first server of the first output that has one.
func (local) Target(nodeFile string) (url, pins string, err error) {
	c, err := loadConfig(reading(nodeFile))
	if err != nil {
		return "", "", err
	}
	for _, o := range c.Outputs {
		if len(o.URLs) > 0 {
			return o.URLs[0], o.TLS.Pins.String(), nil
		}
	}
	return "", "", errors.New("no output of it writes to a server")
}

// State asks the agent that runs.
func (local) State(ctx context.Context) (join.State, error) {
	s, err := askStatus(ctx)
	if err != nil {
		return join.State{}, err
	}
	state := join.State{Version: s.Version, Started: s.Started, Clock: s.Clock}
	for _, o := range s.Outputs {
		state.Outputs = append(state.Outputs, join.Output{
			URL: o.URL, LastSuccess: o.LastSuccess, LastError: o.LastError, Waiting: o.MemoryLines + o.SpoolLines,
		})
	}
	return state, nil
}

// Flush has the agent that runs send what it has.
func (local) Flush(ctx context.Context) error { return control.Post(ctx, "agent", "/flush", nil, nil) }

// Reload has it read its files again.
func (local) Reload(ctx context.Context) error {
	return control.Post(ctx, "agent", "/reload", nil, nil)
}
