package output

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rpicluster/vitals/agent/rotate"
	"github.com/rpicluster/vitals/internal/influx"
)

// files writes lines to files and standard output, as they are.
type files struct {
	names    []string
	compress bool
	rotate   rotate.Options
	bytes    atomic.Int64

	mu    sync.Mutex
	open  map[string]*rotate.File
	taken map[string]uint32 // the batch that a file has taken last
}

var _ destination = (*files)(nil)

func newFiles(c Config) *files {
	return &files{
		names: c.Files, compress: c.Compress,
		rotate: rotate.Options{
			Every: c.RotateEvery, MaxBytes: c.RotateBytes, Keep: c.RotateKeep,
			Failed: func(err error) { c.Logger.Warn("lines are written on all the same", "output", c.ID, "error", err) },
		},
		open: map[string]*rotate.File{}, taken: map[string]uint32{},
	}
}

// deliver appends the batch to every file. A file that has taken it before
// another failed does not get it again.
func (f *files) deliver(_ context.Context, b batch, state *influx.Backoff) error {
	text, id := b.body, crc32.ChecksumIEEE(b.body)
	if !f.compress {
		var err error
		if text, err = influx.Gunzip(b.body); err != nil {
			return fmt.Errorf("inflate batch: %w", err)
		}
	}
	var errs []error
	for _, name := range f.names {
		if has, ok := f.taken[name]; ok && has == id && state.Failures() > 0 {
			continue
		}
		err := f.write(name, text)
		if err == nil {
			f.taken[name] = id
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (f *files) write(name string, text []byte) error {
	to, err := f.file(name)
	if err != nil {
		return err
	}
	n, err := to.Write(text)
	f.bytes.Add(int64(n))
	if err != nil {
		return fmt.Errorf("write lines: %w", err)
	}
	return nil
}

func (f *files) file(name string) (io.Writer, error) {
	if name == "stdout" {
		return os.Stdout, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if file := f.open[name]; file != nil {
		return file, nil
	}
	file, err := rotate.Open(name, f.rotate)
	if err != nil {
		return nil, err
	}
	f.open[name] = file
	return file, nil
}

func (f *files) url() string { return strings.Join(f.names, ", ") }

func (f *files) sent() int64 { return f.bytes.Load() }

func (f *files) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, file := range f.open {
		file.Close()
		delete(f.open, name)
	}
}
