package raspberrypi

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vcio is the kernel's door to the firmware.
type vcio struct{ file *os.File }

// openVCIO opens the door for reading, which is all that its ioctl asks for.
func openVCIO(path string) (device, error) {
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return vcio{f}, nil
}

// property implements device.
func (v vcio) property(message []uint32) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, v.file.Fd(), request(pointerBytes), uintptr(unsafe.Pointer(&message[0])))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return os.NewSyscallError("ioctl", errno)
	}
}

// Close implements device.
func (v vcio) Close() error { return v.file.Close() }

// isRefusal tells a firmware or kernel that will never answer this from one
// that could not at the moment.
func isRefusal(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTTY)
}
