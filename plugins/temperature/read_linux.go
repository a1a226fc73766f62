package temperature

import (
	"os"

	"golang.org/x/sys/unix"
)

// readCelsius reads without waiting: the file of a device that sleeps would
// hold its reader until it wakes up.
func readCelsius(path string) (float64, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var buf [32]byte
	var n int
	err = retry(func() (err error) { n, err = unix.Read(fd, buf[:]); return err })
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return parseCelsius(buf[:n])
}

// retry repeats a call that a signal has cut short.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
