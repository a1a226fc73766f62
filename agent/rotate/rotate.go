// Package rotate writes a file that is put aside under another name when it is
// large or old, as Telegraf does it: metrics.out becomes
// metrics.2026-11-22-1795336000.out.
package rotate

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say when a file is put aside, and how many of those are kept. The
// zero value never puts one aside.
type Options struct {
	Every    time.Duration // 0: however old
	MaxBytes int64         // 0: however large
	Keep     int           // archives; -1: all of them
	Mode     fs.FileMode   // of new files; 0: 0644
	// Failed is told why a file that is due could not be put aside, or an older
	// one not be removed. What is written goes on, and that is tried again later.
	Failed func(error)
}

// File is an open file. It is safe for concurrent use.
type File struct {
	path string
	opts Options

	mu     sync.Mutex
	file   *os.File // nil: it is opened by the next Write
	size   int64
	opened time.Time
	again  time.Time // after a failure: not to be put aside before
}

// patience is how long a file is not put aside again that could not be.
const patience = time.Minute

// Open opens or creates the file at path, to be appended to.
func Open(path string, o Options) (*File, error) {
	if o.Mode == 0 {
		o.Mode = 0o644
	}
	f := &File{path: path, opts: o}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, f.opts.Mode)
	if err != nil {
		return fmt.Errorf("open file: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("open file: %w", err)
	}
	f.file, f.size, f.opened = file, info.Size(), time.Now()
	return nil
}

// Write appends p as a whole or not at all: what a full disk has taken of it is
// cut off again.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); f.file != nil && f.due(int64(len(p)), now) {
		if err := f.rotate(now); err != nil {
			f.again = now.Add(patience)
			if f.opts.Failed != nil {
				f.opts.Failed(fmt.Errorf("put %s aside: %w", f.path, err))
			}
		}
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(p)
	if err != nil {
		_ = f.file.Truncate(f.size) // of a pipe or a device it cannot be
		_ = f.close()
		return 0, err
	}
	f.size += int64(n)
	return n, nil
}

// due reports whether the file is put aside before n more bytes. An empty one
// is not: there is nothing to keep.
func (f *File) due(n int64, now time.Time) bool {
	if f.size == 0 || now.Before(f.again) {
		return false
	}
	return f.opts.MaxBytes > 0 && f.size+n > f.opts.MaxBytes ||
		f.opts.Every > 0 && now.Sub(f.opened) >= f.opts.Every
}

// rotate puts the file aside. It stays open where that fails.
func (f *File) rotate(now time.Time) error {
	name, err := f.next(now)
	if err != nil {
		return err
	}
	if err := os.Rename(f.path, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(f.close(), f.prune())
}

// next is the name of the next archive. It comes after all that there are, also
// for more than one in a second, or when the clock was set back.
func (f *File) next(now time.Time) (string, error) {
	all, err := f.archives()
	if err != nil {
		return "", err
	}
	second, more := now.Unix(), ""
	if n := len(all); n > 0 && all[n-1].second >= second {
		second, more = all[n-1].second, fmt.Sprintf("-%d", all[n-1].more+1)
	}
	return f.archive(fmt.Sprintf("%s-%d%s", now.Format("2006-01-02"), second, more)), nil
}

// archive is the name under which the file is put aside.
func (f *File) archive(stamp string) string {
	ext := filepath.Ext(f.path)
	return strings.TrimSuffix(f.path, ext) + "." + stamp + ext
}

// prune removes the oldest archives that are too many.
func (f *File) prune() error {
	if f.opts.Keep < 0 {
		return nil
	}
	all, err := f.archives()
	if err != nil {
		return err
	}
	for len(all) > f.opts.Keep {
		if err := os.Remove(all[0].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		all = all[1:]
	}
	return nil
}

type archived struct {
	path         string
	second, more int64
}

// archives lists what was put aside, oldest first.
func (f *File) archives() (all []archived, err error) {
	dir := filepath.Dir(f.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	before, after, _ := strings.Cut(filepath.Base(f.archive("\x00")), "\x00")
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(e.Name(), before)
		if ok {
			stamp, ok = strings.CutSuffix(stamp, after)
		}
		if a, sound := parseStamp(stamp); ok && sound {
			a.path = filepath.Join(dir, e.Name())
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b archived) int {
		return cmp.Or(cmp.Compare(a.second, b.second), cmp.Compare(a.more, b.more))
	})
	return all, nil
}

// parseStamp reads 2026-11-22-1795336000 or 2026-11-22-1795336000-1.
func parseStamp(text string) (a archived, ok bool) {
	if len(text) < 12 || text[10] != '-' {
		return a, false
	}
	if _, err := time.Parse("2006-01-02", text[:10]); err != nil {
		return a, false
	}
	second, more, again := strings.Cut(text[11:], "-")
	var err error
	if a.second, err = strconv.ParseInt(second, 10, 64); err != nil {
		return a, false
	}
	if again {
		a.more, err = strconv.ParseInt(more, 10, 64)
	}
	return a, err == nil
}

func (f *File) close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.close()
}
