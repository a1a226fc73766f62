package trust

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
)

// A lock file is what sha256sum writes and "sha256sum -c" checks, with a
// comment before each line that says since when:
//
//	# pinned 2026-08-01T12:00:00Z
//	9f86d081…  /usr/local/lib/vitals/plugins/vitals-plugin-dice

// PinnedFile is a line of a lock file.
type PinnedFile struct {
	Path   string
	SHA256 string    // in hex
	Since  time.Time // zero where the lock file does not say
}

// since begins the comment that says when the next line was written.
const since = "# pinned "

// pinLine is a line as sha256sum writes it.
var pinLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([0-9a-fA-F]{64}) [ *](.+)$`)
})

// Pins reads a lock file. One that is not there has none.
func Pins(lockFile string) ([]PinnedFile, error) {
	f, err := openLock(lockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readPins(f)
}

// openLock opens a lock file to read it. What is no file, such as a pipe on which
// one would wait for ever, is an error, and so is a link: a new lock file would
// take the link's place.
func openLock(lockFile string) (*os.File, error) {
	f, err := os.OpenFile(lockFile, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("lock file %s is a symbolic link; name the file itself in plugin_lock_file", quote(lockFile))
	}
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("lock file %s is not a regular file; remove it, or name another in plugin_lock_file", quote(lockFile)))
	}
	return f, nil
}

func readPins(f *os.File) (pins []PinnedFile, err error) {
	var at time.Time
	lines := bufio.NewScanner(f)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if line == "" || line[0] == '#' {
			if date, ok := strings.CutPrefix(line, since); ok {
				at, _ = time.Parse(time.RFC3339, date)
			}
			continue
		}
		m := pinLine().FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf(`%s:%d: %q is no line of sha256sum's, which is "SHA256  PATH"`, f.Name(), number, line)
		}
		pins = append(pins, PinnedFile{Path: m[2], SHA256: strings.ToLower(m[1]), Since: at})
		at = time.Time{}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	return pins, nil
}

// checkPin refuses a file that is not in the lock file as it is now. A lock
// file that somebody untrusted may write to says nothing.
func (r Rules) checkPin(f *File) error {
	trust := "vitals-agent plugins trust " + quote(f.Path)
	lock, _, err := r.open(r.LockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return &Refusal{f.Path, fmt.Sprintf("is not pinned: there is no lock file %s", r.LockFile), trust}
	}
	if err != nil {
		return fmt.Errorf("%s is not pinned: the lock file: %w", f.Path, err)
	}
	defer lock.Close()
	if _, err := r.walk(r.LockFile, false); err != nil {
		return fmt.Errorf("%s is not pinned: the directory of the lock file: %w", f.Path, err)
	}
	pins, err := readPins(lock)
	if err != nil {
		return &Refusal{Path: f.Path, Reason: "is not pinned: " + err.Error()}
	}
	i := slices.IndexFunc(pins, func(p PinnedFile) bool { return p.Path == f.Path || p.Path == f.real })
	switch {
	case i < 0:
		return &Refusal{f.Path, "is not pinned", trust}
	case pins[i].SHA256 == f.SHA256:
		return nil
	}
	when := ""
	if !pins[i].Since.IsZero() {
		when = " on " + pins[i].Since.Format("2006-01-02 15:04 MST")
	}
	return &Refusal{f.Path, fmt.Sprintf("has changed since it was pinned%s (SHA-256 %.12s…, pinned %.12s…)", when, f.SHA256, pins[i].SHA256), trust}
}

// Pin writes the SHA-256 of the file at path to the lock file, in the place of
// the one that is there, and returns it.
func Pin(lockFile, path string) (string, error) {
	path, err := pinned(path)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("pin: %w", openError(path, err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, fmt.Errorf("pin: %s is not a regular file", path))
	}
	hash, err := sum(f)
	if err != nil {
		return "", fmt.Errorf("pin: read %s: %w", path, err)
	}
	return hash, rewrite(lockFile, path, since+time.Now().UTC().Format(time.RFC3339)+"\n"+hash+"  "+path+"\n")
}

// Unpin takes the file at path out of the lock file. It is an error if it is
// not in it.
func Unpin(lockFile, path string) error {
	path, err := pinned(path)
	if err != nil {
		return err
	}
	pins, err := Pins(lockFile)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(pins, func(p PinnedFile) bool { return p.Path == path }) {
		return fmt.Errorf("%s is not in %s", path, lockFile)
	}
	return rewrite(lockFile, path, "")
}

// pinned is the name under which a file is pinned: whole and without links, so
// that it does not matter from where it is named.
func pinned(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		dir = filepath.Dir(path) // to unpin what is gone
	} else if err != nil {
		return "", err
	}
	if path = filepath.Join(dir, filepath.Base(path)); strings.ContainsAny(path, "\\\n\r") {
		return "", fmt.Errorf("%q cannot be pinned: a lock file holds no backslash and no line break", path)
	}
	return path, nil
}

// rewrite puts entry in the place of the lock file's entry for path, or at its
// end. One writer at a time: each keeps what the others have written.
func rewrite(lockFile, path, entry string) error {
	dir := filepath.Dir(lockFile)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory of the lock file: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory of the lock file: %w", err)
	}
	defer d.Close()
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("wait for other writers of the lock file: %w", err)
	}
	text, err := readLock(lockFile)
	if err != nil {
		return err
	}
	text = []byte(replace(string(text), path, entry))
	if err := durable.WriteFor(lockFile, text, 0o644, os.Geteuid(), os.Getegid()); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

// readLock is the text of a lock file, empty where there is none.
func readLock(lockFile string) ([]byte, error) {
	f, err := openLock(lockFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	return text, nil
}

// replace takes the line for path, and the comment that tells its date, out of
// text and puts entry there.
func replace(text, path, entry string) string {
	var b strings.Builder
	held := "" // a date, until it is known whose
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		m := pinLine().FindStringSubmatch(strings.TrimRight(line, " \t\r\n"))
		switch {
		case strings.HasPrefix(line, since):
			b.WriteString(held)
			held = line
		case m != nil && m[2] == path:
			b.WriteString(entry)
			held, entry = "", ""
		default:
			b.WriteString(held + line)
			held = ""
		}
	}
	return b.String() + held + entry
}
