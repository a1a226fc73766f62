package setup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ByHand is a machine on which nobody keeps the programs running.
type ByHand struct{}

var _ Services = ByHand{}

// Manages implements Services.
func (ByHand) Manages(context.Context, string) bool { return false }

// Active implements Services.
func (ByHand) Active(context.Context, string) bool { return false }

// Start implements Services.
func (ByHand) Start(_ context.Context, unit string) error {
	return fmt.Errorf("nobody starts %s here", unit)
}

// Systemd keeps the programs running by their units.
type Systemd struct{}

var _ Services = Systemd{}

// Manages reports whether systemd runs this machine and has a unit.
func (Systemd) Manages(ctx context.Context, unit string) bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil && systemctl(ctx, "cat", unit) == nil
}

// Active reports whether systemd has a unit running.
func (Systemd) Active(ctx context.Context, unit string) bool {
	return systemctl(ctx, "is-active", unit) == nil
}

// Start starts a unit now, anew if it runs, and with the machine.
func (Systemd) Start(ctx context.Context, unit string) error {
	if err := systemctl(ctx, "enable", unit); err != nil {
		return err
	}
	return systemctl(ctx, "restart", unit)
}

// systemctl does one thing, and says what it said if that fails.
func systemctl(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}
