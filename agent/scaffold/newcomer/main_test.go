package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

// file writes a file for the collector to read.
func file(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGather(t *testing.T) {
	path := file(t, "0.42 0.36 0.30 1/99 1234\n")
	in := plugintest.Configure(t, description(), fmt.Sprintf("path = %q", path))
	if got, want := in.Gather(), "newcomer,path="+path+" value=0.42\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGatherFails(t *testing.T) {
	for _, path := range []string{file(t, ""), file(t, "no number\n"), "/nowhere"} {
		in := plugintest.Configure(t, description(), fmt.Sprintf("path = %q", path))
		if lines, err := in.TryGather(); err == nil || lines != "" {
			t.Errorf("%s: %q, %v", path, lines, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for options, want := range map[string]string{
		`path = ""`:      `[path: must name a file]`,
		`path = 1`:       `[path: expected a string in quotes, not 1]`,
		`paht = "/file"`: `[paht: unknown option; did you mean "path"?]`,
		``:               `[]`,
	} {
		if got := fmt.Sprint(plugins.Check(description(), []byte(options))); got != want {
			t.Errorf("%s: got %s, want %s", options, got, want)
		}
	}
}
