package deliver

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/influx"
)

const (
	rejectedFile  = 1 << 20  // a file of rejected lines is not continued beyond this size
	rejectedTotal = 64 << 20 // of all files of a destination; the oldest go first
	rejectedEnd   = ".lp"
	rejectedName  = "20060102T150405.000000000Z"
)

// Rejected keeps the lines that a destination will never store, with the
// reason, in files that curl can send again: the reasons are comments.
//
//	<directory>/<destination>/20260301T123456.789000000Z.lp
type Rejected struct {
	directory string
	now       func() time.Time
	retrying  sync.Mutex // one at a time; before mu

	mu   sync.Mutex
	file string // that is continued; empty: none yet
	size int64
	lost int64 // bytes that went to make room

	reason string // of the last lines; empty: none since the start
}

// NewRejected keeps lines below directory.
func NewRejected(directory string, now func() time.Time) *Rejected {
	return &Rejected{directory: directory, now: now}
}

// Add keeps lines durably.
func (r *Rejected) Add(t influx.Target, lines []byte, reason string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now().UTC()
	if r.file == "" || r.size >= rejectedFile {
		if err := r.begin(now); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	l := RejectedLines{Target: t, At: now.Format(time.RFC3339), Reason: reason, Lines: lines}
	l.write(&b)
	err := r.append(b.Bytes())
	if errors.Is(err, fs.ErrNotExist) { // somebody has taken the file away
		if err = r.begin(now); err == nil {
			err = r.append(b.Bytes())
		}
	}
	if err == nil {
		r.reason = reason
	}
	return err
}

func (r *Rejected) append(text []byte) error {
	f, err := os.OpenFile(r.file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if err = durable.Append(f, text); err == nil {
		r.size += int64(len(text))
	}
	return errors.Join(err, f.Close())
}

// begin begins a new file and makes room for it.
func (r *Rejected) begin(now time.Time) error {
	if err := os.MkdirAll(r.directory, 0o750); err != nil {
		return err
	}
	if err := r.makeRoom(); err != nil {
		return err
	}
	path := filepath.Join(r.directory, now.Format(rejectedName)+rejectedEnd)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	r.file, r.size = path, 0
	return errors.Join(durable.SyncDirectory(r.directory), durable.SyncDirectory(filepath.Dir(r.directory)))
}

// makeRoom removes the oldest files until another fits below the bound.
func (r *Rejected) makeRoom() error {
	files, err := r.paths()
	if err != nil {
		return err
	}
	total := int64(0)
	for i := len(files) - 1; i >= 0; i-- {
		info, err := os.Stat(files[i])
		if err != nil {
			continue
		}
		if total += info.Size(); total <= rejectedTotal-rejectedFile {
			continue
		}
		if err := os.Remove(files[i]); err != nil {
			return err
		}
		r.lost += info.Size()
	}
	return nil
}

// Present reports whether there are files, of this run or an earlier one, that
// nobody has taken away yet.
func (r *Rejected) Present() bool {
	files, err := r.paths()
	return err == nil && len(files) > 0
}

// paths are those of the files, oldest first: by name is by age.
func (r *Rejected) paths() (all []string, err error) {
	entries, err := os.ReadDir(r.directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), rejectedEnd) {
			all = append(all, filepath.Join(r.directory, e.Name()))
		}
	}
	return all, err
}

// Directory is where the files are.
func (r *Rejected) Directory() string { return r.directory }

// LastReason is why lines were last set aside, cut to what a message can hold;
// empty if none were since the start.
func (r *Rejected) LastReason() string {
	const maxReason = 300
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reason) <= maxReason {
		return r.reason
	}
	return strings.ToValidUTF8(r.reason[:maxReason], "") + "…"
}

// Lost is how many bytes of rejected lines went to make room for newer ones.
func (r *Rejected) Lost() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}
