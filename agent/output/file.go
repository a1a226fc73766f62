package output

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/rpicluster/vitals/internal/influx"
)

// files writes lines to files and standard output, as they are.
type files struct {
	names []string

	mu   sync.Mutex
	open map[string]*os.File
}

var _ destination = (*files)(nil)

func newFiles(names []string) *files {
	return &files{names: names, open: map[string]*os.File{}}
}

// deliver appends the batch to every file. A file that has taken it before
// another failed gets it again: the same lines, at the same times.
func (f *files) deliver(_ context.Context, b batch, _ *influx.Backoff) error {
	lines, err := influx.Gunzip(b.body)
	if err != nil {
		return fmt.Errorf("inflate batch: %w", err)
	}
	var errs []error
	for _, name := range f.names {
		errs = append(errs, f.write(name, lines))
	}
	return errors.Join(errs...)
}

func (f *files) write(name string, lines []byte) error {
	file, err := f.file(name)
	if err != nil {
		return err
	}
	if _, err := file.Write(lines); err != nil {
		f.forget(name)
		return fmt.Errorf("write lines: %w", err)
	}
	return nil
}

func (f *files) file(name string) (*os.File, error) {
	if name == "stdout" {
		return os.Stdout, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if file := f.open[name]; file != nil {
		return file, nil
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	f.open[name] = file
	return file, nil
}

// forget closes a file that failed, so that the next attempt opens it anew.
func (f *files) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if file := f.open[name]; file != nil {
		file.Close()
		delete(f.open, name)
	}
}

func (f *files) url() string { return strings.Join(f.names, ", ") }

func (f *files) close() {
	for _, name := range f.names {
		f.forget(name)
	}
}
