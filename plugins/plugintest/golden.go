package plugintest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/plugins"
)

// Golden runs each folder of testdata as a case:
//
//	options.toml  the collector's options; may be absent
//	proc0         /proc while the collector is configured; may be absent
//	proc1         /proc while it is gathered
//	sys, etc      /sys and /etc, all the time
//	want.lp       the lines that it gathers; absent if it gathers none
//	want.error    a part of the error it gathers with, paths from this folder on
//
// With UPDATE_GOLDEN set in the environment it writes what it got instead, to
// be read and then committed.
func Golden(t *testing.T, describe func(t *testing.T, folder string) plugins.Description) {
	t.Helper()
	folders, err := filepath.Glob("testdata/*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no cases in testdata (%v)", err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) { golden(t, folder, describe(t, folder)) })
	}
}

func golden(t *testing.T, folder string, d plugins.Description) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOST_SYS", filepath.Join(absolute, "sys"))
	t.Setenv("HOST_ETC", filepath.Join(absolute, "etc"))
	t.Setenv("HOST_PROC", filepath.Join(absolute, "proc0"))
	in := Configure(t, d, content(t, folder, "options.toml"))
	t.Setenv("HOST_PROC", filepath.Join(absolute, "proc1"))
	lines, err := in.TryGather()

	failure := ""
	if err != nil {
		failure = strings.ReplaceAll(err.Error(), absolute+"/", "")
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		update(t, filepath.Join(folder, "want.lp"), lines)
		update(t, filepath.Join(folder, "want.error"), failure)
		return
	}
	if diff := cmp.Diff(content(t, folder, "want.lp"), lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	want := strings.TrimSpace(content(t, folder, "want.error"))
	if (want == "") != (failure == "") || !strings.Contains(failure, want) {
		t.Errorf("error %q, want %q", failure, want)
	}
}

func content(t *testing.T, folder, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

func update(t *testing.T, name, text string) {
	t.Helper()
	if text == "" {
		_ = os.Remove(name)
	} else if err := os.WriteFile(name, []byte(strings.TrimSuffix(text, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
