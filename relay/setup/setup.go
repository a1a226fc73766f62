// Package setup makes a machine the primary of a fleet: it looks for InfluxDB,
// writes the node file, and has relay and agent started. What is done already it
// leaves alone, so that whatever has interrupted it, once more completes it.
package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpicluster/vitals/relay/config"
)

// The units of both programs.
const (
	relayUnit = "vitals-relay"
	agentUnit = "vitals-agent"
)

// Services keep programs running.
type Services interface {
	// Manages reports whether they have a unit.
	Manages(ctx context.Context, unit string) bool
	Active(ctx context.Context, unit string) bool
	// Start has a unit run now, anew if it does already, and whenever the machine
	// does.
	Start(ctx context.Context, unit string) error
}

// Relay is the running relay.
type Relay interface {
	Running() bool
	// Tokens are the IDs of the tokens that it knows.
	Tokens(ctx context.Context) ([]string, error)
	// Token makes the token of this machine's agent, in the place of the one before.
	Token(ctx context.Context, node string) (text string, err error)
}

// Config says what is wanted, and where.
type Config struct {
	NodeFile string
	// Listen is where the relay is to listen. CertFile and KeyFile, if set, are its
	// certificate; else it makes a key for itself where others reach it.
	Listen            string
	CertFile, KeyFile string
	Influx            Influx

	Secrets  string // the directory of the agent's token
	Node     string // what this machine calls itself
	Services Services
	Relay    Relay
	// Progress is told of each step before it is taken; nil: nobody is.
	Progress func(step string)
	// Patience is how long the relay may take to start; 0: 30 s.
	Patience time.Duration
}

// OptionError is an option that is wrong, whatever machine it is given on.
type OptionError string

// Error implements error.
func (e OptionError) Error() string { return string(e) }

// check refuses options that are none.
func (c *Config) check() error {
	_, port, err := net.SplitHostPort(c.Listen)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 {
		return OptionError(fmt.Sprintf(`--listen %q: write it as ":8186", or "127.0.0.1:8186" for this machine alone`, c.Listen))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return OptionError("--cert-file and --key-file go together")
	}
	return c.Influx.check()
}

// Done is what a setup has come to.
type Done struct {
	// Notes are what was done or found, Undo how that is undone, in this order.
	Notes []Note
	// Todo are the commands that somebody has to give, if nobody starts programs
	// here; then a second setup.
	Todo []string
	// Running says that the relay runs, and can be asked for a login.
	Running bool
}

// Note is one thing that was done or found.
type Note struct{ What, Text, Undo string }

// setup is one that is under way.
type setup struct {
	Config
	done    Done
	plan    plan
	server  server         // the InfluxDB; zero: there is none
	config  *config.Config // of the node file as it is in the end
	pin     string         // of the relay's own key
	changed bool           // the relay's part of the node file was written now
	agent   bool           // the agent has to be started anew
}

// Run sets the machine up.
func Run(ctx context.Context, c Config) (Done, error) {
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	s := &setup{Config: c}
	if err := c.check(); err != nil {
		return s.done, err
	}
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"looks at the node file", s.look},
		{"sees to the address", s.checkListen},
		{"looks for InfluxDB", s.probe},
		{"sees to the relay's key", s.makeKey},
		{"sees to the node file", s.write},
		{"sees to the relay", s.startRelay},
		{"sees to the agent's token", s.makeToken},
		{"sees to the agent", s.startAgent},
	}
	unlock, err := lock(filepath.Dir(c.NodeFile))
	if err != nil {
		return s.done, explain(err)
	}
	defer unlock()
	for _, step := range steps {
		if c.Progress != nil {
			c.Progress(step.what)
		}
		err := ctx.Err()
		if err == nil {
			err = step.do(ctx)
		}
		if err != nil {
			return s.done, explain(err)
		}
	}
	return s.done, nil
}

// note remembers what was done, and how to undo it.
func (s *setup) note(what, undo, format string, args ...any) {
	s.done.Notes = append(s.done.Notes, Note{what, fmt.Sprintf(format, args...), undo})
}

// lock keeps a second setup away, and whoever may not write there. The directory is
// the first thing that is made.
func lock(directory string) (unlock func(), err error) {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Faccessat(unix.AT_FDCWD, directory, unix.W_OK, unix.AT_EACCESS); err != nil {
		return nil, &os.PathError{Op: "write to", Path: directory, Err: err}
	}
	d, err := os.Open(directory)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.Close()
		return nil, errors.New("another vitals-relay init runs on this machine; wait for it to end")
	}
	return func() { d.Close() }, nil
}

// explain adds what to do about what the system refuses.
func explain(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted: vitals-relay init completes what is left (%w)", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; only root may set this machine up: sudo vitals-relay init, with the same options", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; make room there (df -h shows how much there is) and run vitals-relay init again", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; make it writable (mount -o remount,rw) and run vitals-relay init again", err)
	}
	return err
}
