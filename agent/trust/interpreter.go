package trust

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// maxInterpreter is how much of a script's first line the kernel reads.
	maxInterpreter = 256
	// maxScripts are as many as may be each other's interpreters.
	maxScripts = 5
)

// checkScript refuses a script whose interpreter is not there, or could be
// replaced: who can do that runs what he likes in the script's name. The
// interpreter may be a script in its turn.
func (r Rules) checkScript(path string, line []byte, scripts int) error {
	line, _, _ = bytes.Cut(line, []byte("\n"))
	name, argument := splitLine(line)
	switch {
	case name == "":
		return &Refusal{Path: path, Reason: "names no interpreter after #!"}
	case bytes.HasSuffix(line, []byte("\r")):
		return &Refusal{path, "has line ends of Windows, which make its interpreter one that nobody has", `sed -i 's/\r$//' ` + quote(path)}
	case !strings.HasPrefix(name, "/"):
		return &Refusal{Path: path, Reason: "names an interpreter without its whole path, " + quote(name)}
	case scripts > maxScripts:
		return &Refusal{Path: path, Reason: fmt.Sprintf("is the last of more than %d scripts, each the interpreter of the one before", maxScripts)}
	}
	if err := r.checkInterpreter(path, name, scripts); err != nil {
		return err
	}
	if filepath.Base(name) == "env" {
		return r.checkEnv(path, argument, scripts)
	}
	return nil
}

// splitLine takes the line after #! apart as the kernel does: the interpreter,
// and one argument of all that follows. Only blanks and tabs part them, and the
// name ends at a zero byte.
func splitLine(line []byte) (name, argument string) {
	text := strings.Trim(string(line), " \t")
	i := strings.IndexAny(text, " \t\x00")
	if i < 0 {
		return text, ""
	}
	argument, _, _ = strings.Cut(strings.TrimLeft(text[i:], " \t"), "\x00")
	return text[:i], argument
}

// checkInterpreter refuses the script at path if its interpreter may not be
// run.
func (r Rules) checkInterpreter(path, name string, scripts int) error {
	f, info, err := r.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &Refusal{Path: path, Reason: fmt.Sprintf("needs the interpreter %s, which is not there", quote(name))}
	}
	if err != nil {
		return fmt.Errorf("%s: its interpreter: %w", path, err)
	}
	defer f.Close()
	if info.Mode&0o111 == 0 {
		return &Refusal{Path: path, Reason: fmt.Sprintf("needs the interpreter %s, which is no program", quote(name))}
	}
	if err := r.checkKind(&File{File: f, Path: f.Name()}, info.Size, scripts); err != nil {
		return fmt.Errorf("%s: its interpreter: %w", path, err)
	}
	return nil
}

// find opens what is at path, along links too, if nobody untrusted could have
// put it there.
func (r Rules) find(path string) (*os.File, *syscall.Stat_t, error) {
	real, err := r.walk(path, true)
	if err != nil {
		return nil, nil, err
	}
	return r.open(real)
}

// checkEnv refuses a script of which env(1) finds the interpreter, unless it is
// a name that leads to one that is trusted, whatever is put where env looks
// before it finds that.
func (r Rules) checkEnv(path, name string, scripts int) error {
	switch {
	case name == "":
		return &Refusal{Path: path, Reason: "names no interpreter after env"}
	case strings.HasPrefix(name, "-") || strings.ContainsAny(name, "= \t"):
		return &Refusal{Path: path, Reason: fmt.Sprintf("has env do more than find an interpreter (%q); name the interpreter by its whole path", name)}
	case strings.Contains(name, "/"):
		return r.checkInterpreter(path, filepath.Join("/", name), scripts) // programs are started in /
	}
	search := cmp.Or(r.Path, os.Getenv("PATH"))
	for _, dir := range filepath.SplitList(search) {
		at := filepath.Join("/", dir, name)
		if _, err := r.walk(at, false); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("%s: env looks for its interpreter in %s: %w", path, quote(dir), err)
		}
		if info, err := os.Stat(at); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return r.checkInterpreter(path, at, scripts)
		}
	}
	return &Refusal{Path: path, Reason: fmt.Sprintf("needs the interpreter %s, which is not in PATH (%s)", quote(name), search)}
}
