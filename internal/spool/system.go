package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// system is every call that changes the disk, or that a worn card fails. Tests
// put faults and power cuts in its place.
type system interface {
	Create(path string) (*os.File, error)
	Write(f *os.File, bufs [][]byte, off int64) error // all of bufs at off, or an error
	Datasync(f *os.File) error
	Truncate(f *os.File, size int64) error
	ReadAt(f *os.File, b []byte, off int64) (int, error)
	Link(from, to string) error
	Rename(from, to string) error
	Remove(path string) error
	Mkdir(path string) error
	SyncDirectory(path string) error
	Free(directory string) (int64, error)
}

// kernel is the system that is no test's.
type kernel struct{}

var _ system = kernel{}

// maxVectors is how many buffers one pwritev takes.
const maxVectors = 1024

func (kernel) Create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
}

func (kernel) Write(f *os.File, bufs [][]byte, off int64) error {
	for len(bufs) > 0 {
		part := bufs[:min(len(bufs), maxVectors)]
		want := 0
		for _, b := range part {
			want += len(b)
		}
		n, err := interrupted(func() (int, error) { return unix.Pwritev(int(f.Fd()), part, off) })
		if err != nil {
			return &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		}
		if n != want {
			return fmt.Errorf("pwritev %s: %d of %d bytes: %w", f.Name(), n, want, io.ErrShortWrite)
		}
		off += int64(n)
		bufs = bufs[len(part):]
	}
	return nil
}

func (kernel) Datasync(f *os.File) error {
	_, err := interrupted(func() (int, error) { return 0, unix.Fdatasync(int(f.Fd())) })
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}

func (kernel) Truncate(f *os.File, size int64) error { return f.Truncate(size) }

func (kernel) ReadAt(f *os.File, b []byte, off int64) (int, error) { return f.ReadAt(b, off) }

func (kernel) Link(from, to string) error { return os.Link(from, to) }

func (kernel) Rename(from, to string) error { return os.Rename(from, to) }

func (kernel) Remove(path string) error { return os.Remove(path) }

func (kernel) Mkdir(path string) error { return os.Mkdir(path, 0o750) }

func (kernel) SyncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some network file systems know no such call; their directories are
	// synced as they change, or cannot be.
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// Free returns the bytes that may still be written below directory.
func (kernel) Free(directory string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(directory, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: directory, Err: err}
	}
	if st.Blocks == 0 { // a file system that does not count
		return math.MaxInt64, nil
	}
	return int64(min(st.Bavail, math.MaxInt64/uint64(st.Bsize))) * int64(st.Bsize), nil
}

// interrupted repeats call while a signal interrupts it.
func interrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// syncDirectory makes the names in path durable.
func (s *Spool) syncDirectory(path string) error {
	s.syncs.Add(1)
	return s.sys.SyncDirectory(path)
}

// datasync makes the bytes of f durable.
func (s *Spool) datasync(f *os.File) error {
	s.syncs.Add(1)
	return s.sys.Datasync(f)
}

// makeDirectory makes path, and what it lies in, durable names; a directory
// that is there already is as good.
func (s *Spool) makeDirectory(path string) error {
	err := s.sys.Mkdir(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.makeDirectory(filepath.Dir(path)); err != nil {
			return err
		}
		err = s.sys.Mkdir(path)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.syncDirectory(filepath.Dir(path))
}

// replace gives path new content that is either all there or not at all, and
// durable on return.
func (s *Spool) replace(path string, content []byte) error {
	temp := path + temporary
	f, err := s.sys.Create(temp)
	if err != nil {
		return err
	}
	err = s.sys.Write(f, [][]byte{content}, 0)
	if err == nil {
		err = s.datasync(f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, s.sys.Remove(temp))
	}
	if err := s.sys.Rename(temp, path); err != nil {
		return err
	}
	return s.syncDirectory(filepath.Dir(path))
}
