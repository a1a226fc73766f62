package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"

	"github.com/rpicluster/vitals/plugins"
)

// lifelineFD is the number under which a plugin finds the read end of the pipe
// whose write end only the agent holds.
const lifelineFD = 3

// drainTime is how long a dead process's output is still waited for when
// somebody else holds its pipes open.
const drainTime = 200 * time.Millisecond

// child is one plugin process, as go-plugin's runner.
//
// Its end is noticed by waiting for the process itself and not for the ends of
// its pipes, which a grandchild may hold open. It leads a session of its own,
// so that nothing of it is left when it is killed, and it dies with the agent:
// by the kernel's parent-death signal, or by the lifeline, which is the pipe
// whose other end is closed with the agent.
type child struct {
	from           Command
	cmd            *exec.Cmd
	stdout, stderr *plugins.Output // our ends
	lifeline       *os.File
	theirs         []*os.File
	handshake      *handshake    // reads stdout
	log            *pluginLog    // what it says
	exited         chan struct{} // closed when the process is gone
	err            error         // how it ended; valid once exited is closed

	mu     sync.Mutex
	pid    int
	dir    string // of its socket
	reaped bool
	killed bool
}

var _ runner.Runner = (*child)(nil)

// newChild prepares a process. The command's environment is all that it gets.
func newChild(from Command) (*child, error) {
	c := &child{from: from, cmd: exec.Command(from.Argv[0], from.Argv[1:]...), exited: make(chan struct{})}
	var pipes [3][2]*os.File
	for i := range pipes {
		r, w, err := os.Pipe()
		if err != nil {
			for _, p := range pipes[:i] {
				p[0].Close()
				p[1].Close()
			}
			return nil, fmt.Errorf("make pipe: %w", err)
		}
		pipes[i] = [2]*os.File{r, w}
	}
	c.stdout, c.stderr, c.lifeline = plugins.NewOutput(pipes[0][0]), plugins.NewOutput(pipes[1][0]), pipes[2][1]
	c.handshake = &handshake{from: c.stdout, home: c.home}
	c.theirs = []*os.File{pipes[0][1], pipes[1][1], pipes[2][0]}
	c.cmd.Stdout, c.cmd.Stderr = pipes[0][1], pipes[1][1]
	c.cmd.ExtraFiles = []*os.File{pipes[2][0]} // becomes lifelineFD
	c.cmd.Env = append(slices.Clone(from.Env), plugins.LifelineEnv+"="+strconv.Itoa(lifelineFD))
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if from.Guards { // and must not be found frozen when it is needed
		c.cmd.SysProcAttr.Pdeathsig = syscall.SIGCONT
		c.cmd.Env = append(c.cmd.Env, plugins.GuardEnv+"="+from.Sockets)
	}
	if !from.RunsPrograms {
		c.cmd.Dir = "/"
	}
	return c, nil
}

// settle prepares the run in dir, which is the process's own and in which it
// will make its socket.
func (c *child) settle(dir string) error {
	c.mu.Lock()
	c.dir = dir
	c.mu.Unlock()
	f, user := c.from.File, c.from.Limits.User
	if f == nil {
		return nil
	}
	// Through the descriptor what runs is what was checked. The link is there
	// for its name, by which ps and the kernel's log call the process.
	path := f.Path
	if !f.Script {
		path = filepath.Join(dir, filepath.Base(f.Path))
		if err := os.Symlink("/proc/self/fd/"+strconv.Itoa(programFD), path); err != nil {
			return fmt.Errorf("make link to the program: %w", err)
		}
	}
	argv := slices.Concat(c.from.Shim, shimArgs(c.from.Limits.Memory, path, c.from.Argv))
	c.cmd.Path, c.cmd.Args = argv[0], argv
	c.cmd.ExtraFiles = append(c.cmd.ExtraFiles, f.File) // becomes programFD
	if user == nil {
		return nil
	}
	c.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID, Groups: user.Groups}
	for _, output := range c.theirs[:2] { // for those that open /dev/stderr by its name
		if err := output.Chown(int(user.UID), int(user.GID)); err != nil {
			return fmt.Errorf("give output to the plugin's user: %w", err)
		}
	}
	return user.admit(dir)
}

// ended reports whether the process is gone.
func (c *child) ended() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// home is the process's directory, which everything that it starts inherits
// the name of.
func (c *child) home() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dir
}

// leave removes the process's directory. The socket in it is of no use once the
// agent has its connection, and nothing is left to remove when the agent or the
// process is killed.
func (c *child) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir != "" {
		os.RemoveAll(c.dir)
	}
}

// Start runs the process. The goroutine that does so keeps its thread until the
// process ends, for the parent-death signal is that of the thread's death.
func (c *child) Start(context.Context) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.exec()
		started <- err
		if err == nil {
			c.reap()
		}
	}()
	err := <-started
	if err != nil {
		c.closePipes()
		close(c.exited)
	}
	return err
}

func (c *child) exec() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.closeTheirs()
	if c.killed {
		return errors.New("killed before it was started")
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.pid = c.cmd.Process.Pid
	return nil
}

// reap waits for the end of the process and takes its session with it, before
// its number can be given to another.
func (c *child) reap() {
	for {
		err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.mu.Lock()
	plugins.EndSession(c.pid)
	c.err = c.cmd.Wait()
	c.reaped = true
	c.mu.Unlock()
	// Not closed here: what the process said last is still to be read.
	deadline := time.Now().Add(drainTime)
	_ = c.stdout.SetReadDeadline(deadline)
	_ = c.stderr.SetReadDeadline(deadline)
	c.lifeline.Close()
	close(c.exited)
}

func (c *child) closeTheirs() {
	for _, f := range c.theirs {
		f.Close()
	}
}

func (c *child) closePipes() {
	c.stdout.Close()
	c.stderr.Close()
	c.lifeline.Close()
}

// Wait returns when the process is gone and its output was read.
func (c *child) Wait(context.Context) error {
	<-c.exited
	c.closePipes()
	return c.err
}

// Kill ends the process; reap then ends what it has started.
func (c *child) Kill(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	if c.pid == 0 {
		c.closePipes()
		c.closeTheirs()
	}
	if c.pid == 0 || c.reaped {
		return nil
	}
	return syscall.Kill(-c.pid, syscall.SIGKILL)
}

// PID is the number of the process.
func (c *child) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// Stdout is where the handshake is read.
func (c *child) Stdout() io.ReadCloser { return c.handshake }

// Stderr is the plugin's log.
func (c *child) Stderr() io.ReadCloser { return newEntries(c.stderr, c.log) }

// Name is the base name of the program.
func (c *child) Name() string { return filepath.Base(c.from.Argv[0]) }

// ID is the process's number, as text.
func (c *child) ID() string { return strconv.Itoa(c.PID()) }

// Diagnose adds nothing: handshake knows what is wrong.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost leaves addresses alone: both live in one world.
func (c *child) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin leaves addresses alone.
func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
