package join

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	unit = "vitals-agent.service"
	// unitNodeFile is the node file by which the unit runs the agent.
	unitNodeFile = "/etc/vitals/node.toml"
)

// manages reports whether the service manager runs the agent by a node file.
func (s *Setup) manages(ctx context.Context, nodeFile string) bool {
	return nodeFile == unitNodeFile && s.Service.Manages(ctx)
}

// Systemd keeps the agent running by its unit.
type Systemd struct{}

var _ Service = Systemd{}

// Manages reports whether systemd runs this machine and has the unit.
func (Systemd) Manages(ctx context.Context) bool {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return false
	}
	return systemctl(ctx, "cat", unit) == nil
}

// Active reports whether systemd has the agent running, or tries to.
func (Systemd) Active(ctx context.Context) bool {
	out, _ := exec.CommandContext(ctx, "systemctl", "is-active", unit).Output() // it fails unless active
	switch strings.TrimSpace(string(out)) {
	case "active", "activating", "reloading", "failed":
		return true
	}
	return false
}

// Start starts the agent now, anew if it runs, and with the machine.
func (Systemd) Start(ctx context.Context) error {
	if err := systemctl(ctx, "enable", unit); err != nil {
		return err
	}
	return systemctl(ctx, "restart", unit)
}

// Stop ends the agent, and starts it no more.
func (Systemd) Stop(ctx context.Context) error { return systemctl(ctx, "disable", "--now", unit) }

// Restart starts the agent anew.
func (Systemd) Restart(ctx context.Context) error { return systemctl(ctx, "restart", unit) }

// systemctl does one thing, and says what it said if that fails.
func systemctl(ctx context.Context, args ...string) error { return command(ctx, "systemctl", args...) }

// command runs a program of the system to its end. Its output is part of the
// error.
func command(ctx context.Context, name string, args ...string) error {
	const patience = 5 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, end(out, 600))
	}
	return nil
}

// end is the end of a text, in one line.
func end(text []byte, most int) string {
	lines := strings.Fields(string(text))
	short := strings.Join(lines, " ")
	return short[max(0, len(short)-most):]
}
