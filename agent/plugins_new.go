package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/rpicluster/vitals/agent/scaffold"
)

const newHelp = `Writes the source of a collector in Go: an option, a reading, its tests, a sample, a
Makefile. It builds and passes plugins check as it is; change it from there. What it
needs is Go 1.26, and the first time what Go fetches. Nothing is overwritten.

  --dir D         the directory to write to, instead of ./NAME
  --module M      the path of the Go module, instead of vitals-plugin-NAME
  --vitals PATH   build with a clone of github.com/rpicluster/vitals

  vitals-agent plugins new load
`

// newPlugin writes the source of a collector.
func newPlugin(_ context.Context, f *flags, stdout, _ io.Writer) error {
	name := f.args[0]
	if _, taken := builtinCollector(name); taken {
		return fmt.Errorf("%s is built in, and the agent would use that; call yours something else", name)
	}
	dir := f.dir
	if dir == "" {
		dir = name
	}
	files, err := scaffold.Collector{Name: name, Module: f.module, Vitals: f.vitals, Version: version}.Write(dir)
	if err != nil {
		return err
	}
	about := map[string]string{
		"main.go": "the collector", "main_test.go": "its tests", "sample.conf": "its options", "Makefile": "make, make test, make check, make install",
	}
	for _, path := range files {
		if what := about[filepath.Base(path)]; what != "" {
			fmt.Fprintf(stdout, "%-28s  %s\n", path, what)
		} else {
			fmt.Fprintln(stdout, path)
		}
	}
	_, err = fmt.Fprintf(stdout, `
Next:
  cd %s
  make test && make    # the first time, Go fetches what it needs
  vitals-agent plugins check ./vitals-plugin-%s
  sudo make install
and, with [[inputs.%s]] in the node file:
  vitals-agent --test --input-filter %s
`, dir, name, name, name)
	return err
}
