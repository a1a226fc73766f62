package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// Command runs a program for each message, which it gets as JSON on its
// standard input. Exit code 0 means that it was taken.
type Command struct {
	Argv    []string
	Timeout time.Duration
}

var _ Sender = Command{}

// bareEnvironment is all that a command gets of one: the relay's own may hold
// secrets.
func bareEnvironment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
}

// Send runs the program.
func (c Command) Send(ctx context.Context, messages []Message) error {
	in, err := json.Marshal(messages[0])
	if err != nil {
		return Refused{err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = bareEnvironment(), "/", bytes.NewReader(append(in, '\n'))
	out := &head{left: 512}
	cmd.Stdout, cmd.Stderr = out, out
	// What it has started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	err = cmd.Wait()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success():
		return nil
	case ctx.Err() != nil:
		return Unsure{fmt.Errorf("it does not end within %s", c.Timeout)}
	}
	return Unsure{fmt.Errorf("%w: %s", err, brief(string(out.text), len(out.text)))}
}

// head keeps the beginning of what is written to it.
type head struct {
	text []byte
	left int
}

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.left)
	h.text = append(h.text, p[:n]...)
	h.left -= n
	return len(p), nil
}
