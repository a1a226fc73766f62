// Package durable writes small files so that after a power cut there is the old
// one or the new one.
package durable

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteJSON replaces the file at path with v as JSON.
func WriteJSON(path string, v any) error {
	return Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	})
}

// WriteFor replaces the file at path with text that a user may read, others as
// mode says.
func WriteFor(path string, text []byte, mode fs.FileMode, uid, gid int) error {
	return replace(path, func(f *os.File) error {
		_, err := f.Write(text)
		if os.Geteuid() == 0 { // others cannot give files away
			err = errors.Join(err, f.Chown(uid, gid))
		}
		return errors.Join(err, f.Chmod(mode))
	})
}

// Write replaces the file at path with what write writes.
func Write(path string, write func(io.Writer) error) error {
	return replace(path, func(f *os.File) error { return write(f) })
}

func replace(path string, fill func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone by then, unless something failed
	if err := errors.Join(fill(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDirectory(filepath.Dir(path))
}

// Append adds text to the end of f, whole or not at all: a half line would
// take in what is appended next.
func Append(f *os.File, text []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync()); err != nil {
		err = errors.Join(err, f.Truncate(info.Size()))
	}
	return err
}

// SyncDirectory makes durable which names the directory at path has.
func SyncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
