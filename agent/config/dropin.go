package config

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// dropInPrefix begins the file name of every collector that is a program of
// its own.
const dropInPrefix = "vitals-plugin-"

// dropIn finds the executable of a collector. If there is none, plain is a file
// of its name that is not executable, and tried says of every place what was
// found there.
func dropIn(directories []string, name string) (path, plain string, tried []string) {
	for _, dir := range directories {
		path, err := filepath.Abs(filepath.Join(dir, dropInPrefix+name))
		if err != nil {
			tried = append(tried, err.Error())
			continue
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			tried = append(tried, "no "+path)
		case err != nil:
			tried = append(tried, err.Error())
		case info.IsDir():
			tried = append(tried, path+" to be a directory")
		case info.Mode()&0o111 == 0:
			plain = cmp.Or(plain, path)
		default:
			return path, "", nil
		}
	}
	return "", plain, tried
}

// dropIns lists the names of the collectors in the plugin directories.
func dropIns(directories []string) []string {
	var names []string
	for _, dir := range directories {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if name, ok := strings.CutPrefix(e.Name(), dropInPrefix); ok {
				names = append(names, name)
			}
		}
	}
	return names
}
