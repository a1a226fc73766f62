package system

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
)

// An utmp record is 384 bytes long on most systems, and 400 where the C
// library of a 64-bit machine keeps 64-bit times in it. Type and user stand at
// the same place in both.
const (
	shortRecord = 384
	longRecord  = 400

	userProcess = 7 // ut_type of a login
	userOffset  = 44
	userLength  = 32
)

// users lists the name of each login. gopsutil knows one size of records for
// each architecture and so sees nobody where a 64-bit program runs beside
// 32-bit ones, as is normal on a Raspberry Pi.
func users() ([]string, error) {
	root := cmp.Or(os.Getenv("HOST_VAR"), "/var")
	data, err := os.ReadFile(filepath.Join(root, "run/utmp"))
	if err != nil {
		return nil, err
	}
	size := recordSize(len(data), runtime.GOARCH)
	var names []string
	for ; len(data) >= size; data = data[size:] {
		if binary.NativeEndian.Uint16(data) == userProcess {
			name, _, _ := bytes.Cut(data[userOffset:userOffset+userLength], []byte{0})
			names = append(names, string(name))
		}
	}
	return names, nil
}

// recordSize is the architecture's own size unless the file is a multiple of
// the other one alone.
func recordSize(fileSize int, arch string) int {
	own, other := shortRecord, longRecord
	if arch == "arm64" || arch == "riscv64" || arch == "loong64" {
		own, other = other, own
	}
	if fileSize%own != 0 && fileSize%other == 0 {
		return other
	}
	return own
}
