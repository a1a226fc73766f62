package output

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// maxRejectsBytes bounds each of the two files that keep rejected lines.
const maxRejectsBytes = 4 << 20

// rejects keeps lines that were refused for good, with the reason, in a file
// that is itself line protocol: the reasons are comments. When it is full it
// becomes the old one, and the one before is forgotten.
type rejects struct {
	directory string // empty: nothing is kept

	mu sync.Mutex // held while the files change
}

func newRejects(directory string) *rejects { return &rejects{directory: directory} }

func (r *rejects) path() string {
	if r.directory == "" {
		return ""
	}
	return filepath.Join(r.directory, "rejected.lp")
}

// add appends lines. An error keeps them from being given up.
func (r *rejects) add(lines []byte, reason string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := os.MkdirAll(r.directory, 0o750); err != nil {
		return fmt.Errorf("keep rejected lines: %w", err)
	}
	text := fmt.Appendf(nil, "# %s %s\n", now.UTC().Format(time.RFC3339), oneLine(reason))
	text = append(text, lines...)
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	if info, err := os.Stat(r.path()); err == nil && info.Size()+int64(len(text)) > maxRejectsBytes {
		if err := os.Rename(r.path(), filepath.Join(r.directory, "rejected.old.lp")); err != nil {
			return fmt.Errorf("keep rejected lines: %w", err)
		}
	}
	return appendSynced(r.path(), text)
}

func appendSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("keep rejected lines: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep rejected lines: %w", err)
	}
	return nil
}

// oneLine makes text fit for a comment.
func oneLine(text string) string {
	const longest = 500
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(text)
}
