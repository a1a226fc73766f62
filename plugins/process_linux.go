package plugins

import (
	"os"

	"golang.org/x/sys/unix"
)

// redirect makes descriptor 1 a copy of stderr, for what does not print through
// os.Stdout. Should it fail, descriptor 1 stays the handshake pipe, which the
// host keeps draining.
func redirect(stderr *os.File) {
	_ = unix.Dup3(int(stderr.Fd()), 1, 0)
}

// closeOnExec keeps a descriptor from the children of a collector.
func closeOnExec(fd int) { unix.CloseOnExec(fd) }
