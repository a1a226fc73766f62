//go:build !linux

package plugins

import (
	"os"
	"syscall"
)

// start runs the program, without a group of its own.
func (p *Program) start() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		err := p.cmd.Wait()
		p.mu.Lock()
		p.reaped, p.err = true, err
		p.mu.Unlock()
		close(p.exited)
	}()
	return nil
}

func (p *Program) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

func (p *Program) signalGroup(s syscall.Signal) {
	if s == syscall.SIGKILL {
		_ = p.cmd.Process.Kill()
		return
	}
	_ = p.cmd.Process.Signal(s)
}

func ownSession() bool { return false }

// EndSession does nothing where there are no sessions to look for.
func EndSession(int) {}

// EndOffspring does nothing where processes cannot be told apart.
func EndOffspring(string) {}

func endOffspring(_, _ string) {}

func readNow(*os.File, []byte) (int, error) { return 0, os.ErrDeadlineExceeded }
