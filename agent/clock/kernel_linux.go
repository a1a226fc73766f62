package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

func clocks() (wall, boot time.Duration) {
	return read(unix.CLOCK_REALTIME), read(unix.CLOCK_BOOTTIME)
}

func read(which int32) time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(which, &t) // it fails only for clocks that there are not
	return time.Duration(t.Nano())
}

// synchronised reports whether the kernel was told so, by whatever keeps time
// here. Where it may not be asked nobody could tell.
func synchronised() bool {
	var t unix.Timex
	_, err := unix.Adjtimex(&t)
	return err != nil || t.Status&unix.STA_UNSYNC == 0
}
