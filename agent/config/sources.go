package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// Sources say where a configuration comes from: files, and directories all of
// whose files count.
type Sources struct {
	Files       []string `json:"files,omitempty"`
	Directories []string `json:"directories,omitempty"`
}

// Empty reports whether nothing is named.
func (s Sources) Empty() bool { return len(s.Files)+len(s.Directories) == 0 }

// DefaultPath is where an installed node file lies, and DefaultDirectory where
// further ones may.
const (
	DefaultPath      = "/etc/vitals/node.toml"
	DefaultDirectory = "/etc/vitals/node.d"
)

// telegrafPath is Telegraf's own default, which is read only if it is given: two
// agents would send every line twice.
const telegrafPath = "/etc/telegraf/telegraf.conf"

// Find returns the sources that are given, else what $VITALS_CONFIG names, else
// what $TELEGRAF_CONFIG_PATH does, else the places where they are installed.
func Find(given Sources) Sources {
	if !given.Empty() {
		return given
	}
	for _, variable := range []string{"VITALS_CONFIG", "TELEGRAF_CONFIG_PATH"} {
		if path := os.Getenv(variable); path != "" {
			return Sources{Files: []string{path}}
		}
	}
	s := Sources{Files: []string{DefaultPath}}
	if _, err := os.Stat(DefaultDirectory); err == nil {
		s.Directories = []string{DefaultDirectory}
	}
	return s
}

// Missing says what to do where Find has found nothing to read.
func Missing(s Sources) error { return missing(s, telegrafPath) }

func missing(s Sources, telegraf string) error {
	where := "without --config, $VITALS_CONFIG and $TELEGRAF_CONFIG_PATH it is looked for at " + DefaultPath
	for _, variable := range []string{"TELEGRAF_CONFIG_PATH", "VITALS_CONFIG"} {
		if path := os.Getenv(variable); path != "" {
			where = "$" + variable + " names " + path
		}
	}
	remedy := "vitals-agent join makes one for a relay, vitals-agent config create prints one to begin with; or name another with --config"
	if _, err := os.Stat(telegraf); err == nil {
		remedy = fmt.Sprintf("to run with Telegraf's, which is here, give it: --config %s", telegraf)
		if info, err := os.Stat(filepath.Join(filepath.Dir(telegraf), "telegraf.d")); err == nil && info.IsDir() {
			remedy += " --config-directory " + filepath.Join(filepath.Dir(telegraf), "telegraf.d")
		}
	}
	return missingError(fmt.Sprintf("there is no node file: %s; %s", where, remedy))
}

// missingError is an fs.ErrNotExist that says what to do.
type missingError string

// Error implements error.
func (e missingError) Error() string { return string(e) }

// Is reports what it is an instance of.
func (missingError) Is(target error) bool { return target == fs.ErrNotExist }

// list returns every file of the sources, in the order in which they count:
// those that are given, then those of each directory.
func (s Sources) list() (paths, warnings []string, err error) {
	var errs []error
	add := func(path string) {
		for _, one := range paths {
			if sameFile(one, path) {
				warnings = append(warnings, path+" is given twice and read once")
				return
			}
		}
		paths = append(paths, path)
	}
	for _, path := range s.Files {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			errs = append(errs, fmt.Errorf("%s is a directory; give it as --config-directory %s", path, path))
			continue
		}
		add(path)
	}
	for _, directory := range s.Directories {
		found, more, err := walk(directory)
		warnings, errs = append(warnings, more...), append(errs, err)
		for _, path := range found {
			add(path)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return paths, warnings, err
	}
	if len(paths) == 0 {
		return nil, warnings, fmt.Errorf("there is no node file in %s: their names end in .conf", strings.Join(s.Directories, " or "))
	}
	return paths, warnings, nil
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// walk finds the files of a directory and of those in it, as Telegraf does: in
// the order of their names, those called something.conf. Directories whose name
// begins with two dots are what Kubernetes keeps its versions in.
func walk(directory string) (paths, warnings []string, err error) {
	root := filepath.Clean(directory) + string(filepath.Separator) // follows a link
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path == root:
			return fmt.Errorf("--config-directory %s: %w", directory, err)
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("%s is left out: %v", path, err))
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".."):
			return fs.SkipDir
		case d.IsDir():
		case strings.HasSuffix(d.Name(), ".toml"):
			warnings = append(warnings, fmt.Sprintf("%s is left out: in a directory only files count whose names end in .conf", path))
		case strings.HasSuffix(d.Name(), ".conf") && len(d.Name()) > len(".conf") && !linksToDirectory(path):
			paths = append(paths, path)
		}
		return nil
	})
	return paths, warnings, err
}

func linksToDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// URLs are those of the files that are elsewhere.
func (s Sources) URLs() []string {
	return slices.DeleteFunc(slices.Clone(s.Files), func(path string) bool { return !nodefile.IsURL(path) })
}

// Watched are the directories in which a file may appear that is of the sources, or
// from which one may go.
func (s Sources) Watched() []string {
	var all []string
	for _, path := range s.Files {
		if !nodefile.IsURL(path) {
			all = append(all, filepath.Dir(path))
		}
	}
	for _, directory := range s.Directories {
		_ = filepath.WalkDir(filepath.Clean(directory)+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, filepath.Clean(path))
			}
			return nil
		})
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Paths are the files as they are now.
func (s Sources) Paths() []string {
	paths, _, _ := s.list()
	return paths
}
