// Package control is how a program's subcommands reach the running program:
// HTTP and JSON on a Unix socket that only its own user may open.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// maxAnswer bounds an answer, and maxRefusal one that is an error: root asks
// programs of other users, which may not be what they were.
const (
	maxAnswer  = 256 << 20
	maxRefusal = 64 << 10
)

// maxPath is the longest path that a Unix socket may have, its final NUL
// left out.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// Directory is the runtime directory: $RUNTIME_DIRECTORY where systemd has
// made one, /run/vitals for root, else one below $XDG_RUNTIME_DIR or the
// directory for temporary files.
func Directory() string {
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/run/vitals"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "vitals")
	}
	return filepath.Join(os.TempDir(), "vitals-"+strconv.Itoa(os.Geteuid()))
}

// Path is the socket at which the program called name ("agent", "relay") is
// asked: in the runtime directory or, without $RUNTIME_DIRECTORY, where the
// program's unit has it.
func Path(name string) string {
	if os.Getenv("RUNTIME_DIRECTORY") != "" {
		return own(name)
	}
	candidates := []string{own(name), filepath.Join("/run/vitals-"+name, name+".sock")}
	if os.Geteuid() == 0 {
		slices.Reverse(candidates)
	}
	if i := slices.IndexFunc(candidates, mayBe); i >= 0 {
		return candidates[i]
	}
	return own(name)
}

// own is the socket that this process would listen on as the program.
func own(name string) string { return filepath.Join(Directory(), name+".sock") }

// mayBe reports whether a file is there, or in a directory that is closed to
// this user.
func mayBe(path string) bool {
	_, err := os.Lstat(path)
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// MakeDirectory makes the runtime directory and refuses one that another user
// could have prepared.
func MakeDirectory() (string, error) {
	dir := Directory()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make runtime directory: %w; set RUNTIME_DIRECTORY to one that can be written", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("runtime directory: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return "", fmt.Errorf("runtime directory %s belongs to user %d; remove it, or set RUNTIME_DIRECTORY", dir, st.Uid)
	}
	return dir, nil
}

// Listen opens the socket of the program called name. The socket of a program
// that has died is replaced; that of a living one is an error.
func Listen(name string) (net.Listener, error) {
	if _, err := MakeDirectory(); err != nil {
		return nil, err
	}
	path := own(name)
	if len(path) > maxPath {
		return nil, fmt.Errorf("control socket %s: the path is longer than %d bytes; set RUNTIME_DIRECTORY to a shorter one", path, maxPath)
	}
	for _, taken := range []string{path, Path(name)} {
		if answers(taken) {
			return nil, fmt.Errorf("control socket %s: another vitals-%s is running; stop it, or set RUNTIME_DIRECTORY", taken, name)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove stale control socket: %w", err)
	}
	// The directory is private, so nobody can connect before the mode is set.
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return ln, nil
}

// Running reports whether the program called name can be asked something.
func Running(name string) bool { return Reach(name) == nil }

// Reach says why the program called name cannot be asked anything; the error is
// nil if it can.
func Reach(name string) error {
	if err := dial(Path(name)); err != nil {
		return unreachable(name, err)
	}
	return nil
}

func answers(path string) bool { return dial(path) == nil }

func dial(path string) error {
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
	}
	return err
}

// Get asks the program called name for path and decodes its answer into v.
func Get(ctx context.Context, name, path string, v any) error {
	return call(ctx, http.MethodGet, name, path, nil, v)
}

// Post sends in to path of the program called name and decodes its answer into
// out, unless that is nil.
func Post(ctx context.Context, name, path string, in, out any) error {
	return call(ctx, http.MethodPost, name, path, in, out)
}

func call(ctx context.Context, method, name, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://vitals-"+name+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", Path(name))
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		return unreachable(name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		if err != nil {
			return fmt.Errorf("read the answer of the %s: %w", name, err)
		}
		return errors.New(legible(string(bytes.TrimSpace(answer))))
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("read the answer of the %s: %w", name, err)
	}
	return nil
}

// legible keeps what a program says from steering the terminal. It may be lines,
// or JSON.
func legible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// unreachable words the two cases a person at a terminal meets.
func unreachable(name string, err error) error {
	path := Path(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the %s does not seem to run: nothing listens on %s. Where systemd is to run it: sudo systemctl start vitals-%[1]s; if it runs with another runtime directory, set RUNTIME_DIRECTORY", name, path)
	case errors.Is(err, fs.ErrPermission):
		return notAllowed(path)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the %s does not answer: %w", name, context.DeadlineExceeded)
	}
	return fmt.Errorf("ask the %s: %w", name, err)
}

// notAllowed is a socket that is another user's.
type notAllowed string

// Error implements error.
func (path notAllowed) Error() string {
	return fmt.Sprintf("not allowed to open %s; try again with sudo", string(path))
}

// Is reports what it is an instance of.
func (notAllowed) Is(target error) bool { return target == fs.ErrPermission }
