package trust

import (
	"os"
	"syscall"
)

// Verify opens the file at path and checks that it may be run. The error is a
// *Refusal where the file is there and may not; it wraps fs.ErrNotExist where
// there is none. The caller closes the File.
func (r Rules) Verify(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	stamp, err := StampOf(path)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &File{File: f, Path: path, Stamp: stamp}, nil
}

// StampOf is the state that the file at path has now.
func StampOf(path string) (Stamp, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Stamp{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return Stamp{
		Device: uint64(st.Dev), Inode: st.Ino, Size: st.Size,
		ModUnixNano: st.Mtim.Nano(), ChangeUnixNano: st.Ctim.Nano(),
	}, nil
}
