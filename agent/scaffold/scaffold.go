// Package scaffold writes the source of a new collector, for its author to go
// on from. The template is the collector in newcomer, which is built and tested
// like any other; only its name is replaced.
package scaffold

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed newcomer
var template embed.FS

// module is the one that a collector imports package plugins from.
const module = "github.com/rpicluster/vitals"

// Collector is what is to be written.
type Collector struct {
	// Name is the one in [[inputs.NAME]].
	Name string
	// Module is the path of the Go module to write; empty: vitals-plugin-NAME.
	Module string
	// Vitals is a clone of the repository to build with; empty: a release.
	Vitals string
	// Version is the release to build with; empty, or none of a release: the
	// newest.
	Version string
}

var (
	validModule = regexp.MustCompile(`^[A-Za-z0-9._~/-]+$`)
	release     = regexp.MustCompile(`^v\d+\.\d+\.\d+$`)
)

// Write writes the files into dir, which must not be there or be empty, and
// returns their paths.
func (c Collector) Write(dir string) (files []string, err error) {
	if !plugins.ValidName(c.Name) {
		return nil, fmt.Errorf("a collector cannot be called %q: a name is made of small letters, digits and _, begins with a letter and has 32 characters at most", c.Name)
	}
	goMod, err := c.goMod()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look into the directory to write to: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty, and nothing is overwritten; name another directory with --dir", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	names := []string{"main.go", "main_test.go", "sample.conf", "README.md", "Makefile", "gitignore"}
	for _, name := range names {
		text, err := template.ReadFile("newcomer/" + name)
		if err != nil {
			return files, err
		}
		if name == "gitignore" {
			name = "." + name
		}
		files = append(files, filepath.Join(dir, name))
		if err := write(files[len(files)-1], c.named(string(text))); err != nil {
			return files, err
		}
	}
	files = append(files, filepath.Join(dir, "go.mod"))
	return files, write(files[len(files)-1], goMod)
}

func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// named puts the collector's name in the place of the template's.
func (c Collector) named(text string) string {
	exported := ""
	for word := range strings.SplitSeq(c.Name, "_") {
		if word != "" {
			exported += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.NewReplacer("newcomer", c.Name, "Newcomer", exported).Replace(text)
}

// goMod is the module's file. What else it requires go mod tidy adds.
func (c Collector) goMod() (string, error) {
	// Such a name builds a program of that name, and is none of Go's own packages.
	path := cmp.Or(c.Module, "vitals-plugin-"+c.Name)
	if !validModule.MatchString(path) {
		return "", fmt.Errorf("%q is no path of a Go module; it is like example.com/%s", path, c.Name)
	}
	text := fmt.Sprintf("module %s\n\ngo 1.26.0\n", path)
	switch {
	case c.Vitals != "":
		clone, err := filepath.Abs(c.Vitals)
		if err != nil {
			return "", err
		}
		if own, err := os.ReadFile(filepath.Join(clone, "go.mod")); err != nil || !strings.HasPrefix(string(own), "module "+module+"\n") {
			return "", fmt.Errorf("%s is no clone of %s", c.Vitals, module)
		}
		text += fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %s\n", module, module, clone)
	case release.MatchString(c.Version):
		text += fmt.Sprintf("\nrequire %s %s\n", module, c.Version)
	}
	if c.Vitals == "" {
		text += fmt.Sprintf("\n// To build with a clone: go mod edit -replace %s=../vitals\n", module)
	}
	return text, nil
}
