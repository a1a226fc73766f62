package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/line"
)

// RejectedFile is a file of lines that were set aside.
type RejectedFile struct {
	ID     string    `json:"id"`
	Since  time.Time `json:"since"`
	Lines  int       `json:"lines"`
	Bytes  int64     `json:"bytes"`
	Reason string    `json:"reason"` // of the last of them
}

// RejectedLines are lines of one target that were set aside for one reason.
type RejectedLines struct {
	Target influx.Target
	At     string
	Reason string
	Lines  []byte
}

// Retried is what became of lines that were sent again.
type Retried struct {
	Stored  int `json:"stored_lines"`
	Refused int `json:"refused_lines"` // once more; they are kept with the new reason
	Left    int `json:"left_lines"`    // could not be tried
}

// List describes the files, oldest first.
func (r *Rejected) List() ([]RejectedFile, error) {
	paths, err := r.paths()
	if err != nil {
		return nil, err
	}
	files := []RejectedFile{}
	for _, path := range paths {
		id := strings.TrimSuffix(filepath.Base(path), rejectedEnd)
		all, err := r.Read(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		f := RejectedFile{ID: id}
		f.Since, _ = time.Parse(rejectedName, id)
		for _, l := range all {
			f.Lines += len(cut(l.Lines))
			f.Bytes += int64(len(l.Lines))
			f.Reason = l.Reason
		}
		files = append(files, f)
	}
	return files, nil
}

// Read returns what is in a file.
func (r *Rejected) Read(id string) ([]RejectedLines, error) {
	path, err := r.path(id)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseRejected(text), nil
}

// Drop removes a file.
func (r *Rejected) Drop(id string) error {
	path, err := r.path(id)
	if err != nil {
		return err
	}
	r.leaveAlone(path)
	if err := os.Remove(path); err != nil {
		return err
	}
	return durable.SyncDirectory(r.directory)
}

// Retry sends the lines of a file again. send returns those that are refused
// once more, or an error if it cannot tell. The file is removed if nothing is
// left of it; otherwise it holds what is, with the new reasons.
func (r *Rejected) Retry(ctx context.Context, id string, send func(context.Context, influx.Target, []byte) ([]RejectedLines, error)) (done Retried, err error) {
	path, err := r.path(id)
	if err != nil {
		return done, err
	}
	r.retrying.Lock()
	defer r.retrying.Unlock()
	r.leaveAlone(path)
	all, err := r.Read(id)
	if err != nil {
		return done, err
	}
	var left []RejectedLines
	var failure error
	for _, part := range all {
		n := len(cut(part.Lines))
		var refused []RejectedLines
		if failure == nil {
			refused, failure = send(ctx, part.Target, part.Lines)
		}
		if failure != nil {
			done.Left += n
			left = append(left, part)
			continue
		}
		for _, l := range refused {
			l.At = r.now().UTC().Format(time.RFC3339)
			left = append(left, l)
			done.Refused += len(cut(l.Lines))
			n -= len(cut(l.Lines))
		}
		done.Stored += max(n, 0)
	}
	return done, errors.Join(failure, r.replace(path, left))
}

// replace writes a file anew, or removes it if nothing is left.
func (r *Rejected) replace(path string, left []RejectedLines) error {
	if len(left) == 0 {
		return errors.Join(os.Remove(path), durable.SyncDirectory(r.directory))
	}
	return durable.Write(path, func(w io.Writer) error {
		var b bytes.Buffer
		for _, l := range left {
			l.write(&b)
		}
		_, err := w.Write(b.Bytes())
		return err
	})
}

// path is that of a file.
func (r *Rejected) path(id string) (string, error) {
	if _, err := time.Parse(rejectedName, id); err != nil {
		return "", fmt.Errorf("%q is no id of rejected lines; they are like %s", id, rejectedName)
	}
	return filepath.Join(r.directory, id+rejectedEnd), nil
}

// leaveAlone lets what is refused from now on go to another file.
func (r *Rejected) leaveAlone(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == path {
		r.file = ""
	}
}

// write appends the lines with their reason, as a comment.
func (l *RejectedLines) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "# %s db=%q rp=%q precision=%s: %s\n", l.At, l.Target.Database, l.Target.RetentionPolicy, l.Target.Precision,
		strings.NewReplacer("\n", " ", "\r", " ").Replace(l.Reason))
	for _, text := range cut(l.Lines) {
		if text = uncommented(text); len(text) > 0 {
			b.Write(bytes.TrimSuffix(text, []byte("\n")))
			b.WriteByte('\n')
		}
	}
}

// uncommented is a line without the comments and blank lines before it: what its
// writer says there must not be taken for a reason, nor hide one.
func uncommented(text []byte) []byte {
	for len(text) > 0 {
		first, rest, _ := bytes.Cut(text, []byte("\n"))
		if first = bytes.TrimLeft(first, " \t\r\x00"); len(first) > 0 && first[0] != '#' {
			break
		}
		text = rest
	}
	return text
}

var rejectedHeader = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^# (\S+) db=("(?:[^"\\]|\\.)*") rp=("(?:[^"\\]|\\.)*") precision=(\w*): (.*)`)
})

// parseRejected is the inverse of write. What looks like a reason within a
// string is part of a line.
func parseRejected(text []byte) (all []RejectedLines) {
	for len(text) > 0 {
		switch text[0] {
		case '\n':
			text = text[1:]
		case '#':
			header, rest, _ := bytes.Cut(text, []byte("\n"))
			text = rest
			if m := rejectedHeader().FindSubmatch(header); m != nil {
				l := RejectedLines{At: string(m[1]), Reason: string(m[5]), Target: influx.Target{Precision: string(m[4])}}
				l.Target.Database, _ = strconv.Unquote(string(m[2])) // the pattern is that of what can be
				l.Target.RetentionPolicy, _ = strconv.Unquote(string(m[3]))
				all = append(all, l)
			}
		default:
			_, rest, _ := line.Cut(text)
			if len(all) == 0 { // somebody has taken the reason away: nobody knows where they belong
				all = append(all, RejectedLines{Reason: "unknown"})
			}
			last := &all[len(all)-1]
			last.Lines = append(last.Lines, text[:len(text)-len(rest)]...)
			text = rest
		}
	}
	return all
}

// cut parts text into its lines. A newline within a string ends none.
func cut(text []byte) (lines [][]byte) {
	for len(text) > 0 {
		_, rest, _ := line.Cut(text)
		lines = append(lines, text[:len(text)-len(rest)])
		text = rest
	}
	return lines
}
