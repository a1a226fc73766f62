package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/spool"
)

// Buffer is what waits for one output, and what was set aside for it.
type Buffer struct {
	Name   string    `json:"name"`
	Orphan bool      `json:"orphan"` // no output of this name is configured
	Lines  int64     `json:"lines"`  // that wait
	Bytes  int64     `json:"bytes"`  // they take on disk
	Oldest time.Time `json:"oldest,omitzero"`
	// MemoryLines are those that wait in the memory of the running agent.
	MemoryLines int64 `json:"memory_lines"`
	Rejected    int64 `json:"rejected_lines"`
}

// Buffers looks into every buffer below directory. It takes no lock: an agent
// may be at work there. A directory that is not there holds none.
func Buffers(directory string, configured []string) ([]Buffer, error) {
	entries, err := os.ReadDir(directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list buffers: %w", err)
	}
	var all []Buffer
	for _, e := range entries {
		if !e.IsDir() || !isBuffer(directory, e.Name()) {
			continue
		}
		b, err := look(directory, e.Name())
		if err != nil {
			return nil, err
		}
		b.Orphan = !slices.Contains(configured, b.Name)
		all = append(all, b)
	}
	return all, nil
}

func isBuffer(directory, name string) bool {
	info, err := os.Stat(filepath.Join(directory, name, "destinations", queueName))
	return err == nil && info.IsDir()
}

// look counts what is in one buffer.
func look(directory, name string) (Buffer, error) {
	b := Buffer{Name: name}
	err := spool.Peek(filepath.Join(directory, name), queueName, false, func(f *spool.Frame, size int64) bool {
		if b.Lines == 0 {
			b.Oldest = f.Received
		}
		b.Lines += int64(f.Lines)
		b.Bytes += size
		return true
	})
	if err != nil {
		return b, fmt.Errorf("buffer %s: %w", name, err)
	}
	b.Rejected, err = rejectsOf(directory, name).count()
	return b, err
}

func rejectsOf(directory, name string) *rejects {
	return newRejects(filepath.Join(directory, name, rejectedName))
}

// rejectedName is where, in an output's buffer, refused lines are kept.
const rejectedName = "rejected"

// Show calls fn with the lines of a buffer that wait, oldest first and a batch
// at a time, until fn returns false.
func Show(directory, name string, fn func(lines []byte) bool) error {
	if !isBuffer(directory, name) {
		return noBuffer(directory, name)
	}
	var broken error
	err := spool.Peek(filepath.Join(directory, name), queueName, true, func(f *spool.Frame, _ int64) bool {
		var text []byte
		if text, broken = influx.Gunzip(f.Body); broken != nil {
			return false
		}
		return fn(text)
	})
	if err := errors.Join(err, broken); err != nil {
		return fmt.Errorf("buffer %s: %w", name, err)
	}
	return nil
}

// ShowRejected returns the lines of a buffer that were refused for good, each
// behind a comment that says when and why.
func ShowRejected(directory, name string) ([]byte, error) {
	if !isBuffer(directory, name) {
		return nil, noBuffer(directory, name)
	}
	return rejectsOf(directory, name).read()
}

func noBuffer(directory, name string) error {
	return fmt.Errorf("there is no buffer %q in %s; vitals-agent buffer list shows those that are", name, directory)
}
