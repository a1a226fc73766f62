package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/line"
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
	return r.append(text)
}

// names are the two files, the older one first.
func (r *rejects) names() []string {
	return []string{filepath.Join(r.directory, "rejected.old.lp"), r.path()}
}

// read returns everything that is kept.
func (r *rejects) read() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readAll()
}

// readAll is read with r.mu held.
func (r *rejects) readAll() (text []byte, err error) {
	for _, name := range r.names() {
		part, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read rejected lines: %w", err)
		}
		text = append(text, part...)
	}
	return text, nil
}

// remove removes the files. r.mu is held.
func (r *rejects) remove() error {
	for _, name := range r.names() {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove rejected lines: %w", err)
		}
	}
	return nil
}

// count is how many lines are kept.
func (r *rejects) count() (int64, error) {
	text, err := r.read()
	_, n, _, left := sift(text)
	return int64(n + left), err
}

// clear removes what is kept and returns how many lines that were.
func (r *rejects) clear() (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := r.readAll()
	if err != nil {
		return 0, err
	}
	_, n, _, left := sift(text)
	return int64(n + left), r.remove()
}

// sift parts kept lines into those that can be read, the comments left out, and
// the others, each as a comment has introduced it.
func sift(text []byte) (sound []byte, n int, left []byte, leftLines int) {
	for len(text) > 0 {
		l, rest, err := line.Cut(text)
		bad := text[:len(text)-len(rest)]
		text = rest
		switch {
		case err == nil:
			sound = (&line.Edit{}).Append(sound, l)
			n++
		case errors.Is(err, io.EOF):
		default:
			left = append(left, bad...)
			leftLines++
		}
	}
	return sound, n, left, leftLines
}

func (r *rejects) append(text []byte) error {
	f, err := os.OpenFile(r.path(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("keep rejected lines: %w", err)
	}
	if err := errors.Join(durable.Append(f, text), f.Close()); err != nil {
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
