// Package service tells systemd how a program is doing, where systemd has
// started it and asks to be told (Type=notify, WatchdogSec=). Elsewhere it does
// nothing.
package service

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Ready tells that the program does its work; again, that it has reloaded.
func Ready() { tell(daemon.SdNotifyReady) }

// Stopping tells that the program ends.
func Stopping() { tell(daemon.SdNotifyStopping) }

// Reloading tells that the configuration is read again. Ready ends that.
func Reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// Watchdog tells twice in each watchdog period that the program lives, until
// ctx ends. Before it does so it calls alive, which should take the locks that
// the program's work takes: a program at a standstill stops telling, and is
// started again.
func Watchdog(ctx context.Context, alive func()) {
	period, err := daemon.SdWatchdogEnabled(false)
	if err != nil || period <= 0 {
		return
	}
	tick := time.NewTicker(period / 2)
	defer tick.Stop()
	for {
		alive()
		tell(daemon.SdNotifyWatchdog)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// tell fails only where nobody listens any more.
func tell(state string) { _, _ = daemon.SdNotify(false, state) }
