package plugins

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Program is a running program of the owner's: the child of a collector that
// runs commands.
//
// It leads a process group of its own, so that Kill reaches what it has started
// too, and dies with this process where the kernel can see to it. Its end is
// seen by the process ending, never by its pipes, which a grandchild may hold
// for ever. Its number stays its own until Wait.
type Program struct {
	// Stdin is nil unless asked for. Stdout and Stderr are for the caller to
	// read.
	Stdin          *os.File
	Stdout, Stderr *Output

	cmd    *exec.Cmd
	exited chan struct{}

	mu     sync.Mutex
	reaped bool
	err    error
}

// StartProgram runs argv with env as its whole environment. Without stdin it
// reads from the null device. The caller must Wait or End, and Close.
func StartProgram(argv, env []string, stdin bool) (*Program, error) {
	p := &Program{cmd: exec.Command(argv[0], argv[1:]...), exited: make(chan struct{})}
	p.cmd.Env = env
	theirs, err := p.pipes(stdin)
	defer closeAll(theirs)
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	if err := p.start(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// pipes connects the program and returns its ends.
func (p *Program) pipes(stdin bool) (theirs []*os.File, err error) {
	connect := func(read, write **os.File) error {
		r, w, err := os.Pipe()
		*read, *write = r, w
		return err
	}
	var in, out, errs, stdout, stderr *os.File
	err = errors.Join(connect(&stdout, &out), connect(&stderr, &errs))
	p.Stdout, p.Stderr = NewOutput(stdout), NewOutput(stderr)
	if stdin {
		err = errors.Join(err, connect(&in, &p.Stdin))
		p.cmd.Stdin = in
	}
	p.cmd.Stdout, p.cmd.Stderr = out, errs
	return []*os.File{in, out, errs}, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// PID is the number of the program and of its group.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the program has ended, though not yet been waited for.
func (p *Program) Exited() <-chan struct{} { return p.exited }

// Signal sends s to the program alone.
func (p *Program) Signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return os.ErrProcessDone
	}
	return p.signal(s)
}

// Kill sends s to the program and everything in its group, also to what has
// outlived it there.
func (p *Program) Kill(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.signalGroup(s)
	}
}

// ExitsWithin waits for the program to end, as long as patience says.
func (p *Program) ExitsWithin(patience time.Duration) bool {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.exited:
		return true
	case <-t.C:
		return false
	}
}

// Wait waits for the program to end and returns how it did, as exec.Cmd.Wait.
func (p *Program) Wait() error {
	<-p.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.reaped, p.err = true, p.cmd.Wait()
	}
	return p.err
}

// killTime is how long the kernel may take to end what was killed.
const killTime = time.Second

// ErrUnkillable is that of a program in a system call that cannot be
// interrupted, such as a read from a dead disk. It is reaped when it ends.
var ErrUnkillable = errors.New("it cannot be killed; a device that it uses does not answer")

// End ends the program and everything in its group: it sends SIGTERM, after
// grace SIGKILL, and waits.
func (p *Program) End(grace time.Duration) error {
	p.Kill(syscall.SIGTERM)
	p.ExitsWithin(grace)
	p.Kill(syscall.SIGKILL)
	if !p.ExitsWithin(killTime) {
		go func() { _ = p.Wait() }()
		return ErrUnkillable
	}
	return p.Wait()
}

// Close closes our ends of the pipes.
func (p *Program) Close() { closeAll([]*os.File{p.Stdin, p.Stdout.file, p.Stderr.file}) }
