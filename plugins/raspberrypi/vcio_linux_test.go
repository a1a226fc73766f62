package raspberrypi

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestVCIO: the real call, on a device that is no mailbox.
func TestVCIO(t *testing.T) {
	d, err := openVCIO(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	err = d.property(message(tagThrottled, 0))
	var call *os.SyscallError
	if !errors.As(err, &call) || call.Syscall != "ioctl" || !isRefusal(err) {
		t.Errorf("%v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := openVCIO(filepath.Join(t.TempDir(), "vcio")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
