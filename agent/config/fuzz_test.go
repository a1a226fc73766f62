package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// FuzzLoad reads text as a node file. Whatever it is, it is either refused, with
// the same words each time and each at a place within the file, or something to
// run.
func FuzzLoad(f *testing.F) {
	seeds, err := filepath.Glob("../../tests/telegraf-conf/*.conf")
	if err != nil || len(seeds) < 3 {
		f.Fatal(seeds, err)
	}
	for _, path := range append(seeds, "../../config.example.toml") {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("[[inputs.cpu]]\nlabels = {a = '${X:-b}'}\n[[outputs.file]]\nfiles = ['@{s:k}']\n[[secretstores.files]]\nid = 's'\npath = '/nowhere'\n")
	f.Add("[inputs.cpu]\n[inputs.cpu.tagpass]\na = ['b*', '[']\n[outputs.influxdb]\nurls = ['${V:?no}']\n")
	f.Add("agent.interval = 3\nplugins.mem = [{interval = 1.5, tags = {a = 'b'}}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "node.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path, Options{Builtins: builtins()})
		_, again := Load(path, Options{Builtins: builtins()})
		if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
			t.Fatalf("refused once with\n%v\nand once with\n%v", err, again)
		}
		if err == nil {
			if len(c.Inputs) == 0 || len(c.Outputs) == 0 {
				t.Error("there is nothing to run")
			}
			return
		}
		lines := strings.Count(text, "\n") + 1
		for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
			if e, ok := errors.AsType[*nodefile.Error](one); ok && (e.File != path || e.Line > lines || e.Line < 0 || e.Text == "") {
				t.Errorf("%+v in a file of %d lines", e, lines)
			}
		}
	})
}
