package scaffold

import (
	"go/format"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func written(t *testing.T, c Collector) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "a", c.Name)
	files, err := c.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
	return dir
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever it is called, no trace of the template is left, and gofmt has
// nothing to add.
func TestWrite(t *testing.T) {
	for name, exported := range map[string]string{"load": "Load", "b": "B", "soil_2_moisture_": "Soil2Moisture"} {
		dir := written(t, Collector{Name: name})
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 7 {
			t.Errorf("%v, %v", entries, err)
		}
		for _, e := range entries {
			text := read(t, dir, e.Name())
			if strings.Contains(strings.ToLower(text), "newcomer") {
				t.Errorf("%s of %s:\n%s", e.Name(), name, text)
			}
			if strings.HasSuffix(e.Name(), ".go") {
				if formatted, err := format.Source([]byte(text)); err != nil || string(formatted) != text {
					t.Errorf("%s of %s is not formatted, %v", e.Name(), name, err)
				}
			}
		}
		if text := read(t, dir, "main.go"); !strings.Contains(text, "type "+exported+" struct {") || !strings.Contains(text, `"`+name+`"`) {
			t.Errorf("%s:\n%s", name, text)
		}
		if text := read(t, dir, "sample.conf"); !strings.Contains(text, "\n[[inputs."+name+"]]\n") {
			t.Error(text)
		}
	}
}

func TestModule(t *testing.T) {
	f := func(c Collector, want string) {
		t.Helper()
		c.Name = "load"
		if got := read(t, written(t, c), "go.mod"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	const head = "module vitals-plugin-load\n\ngo 1.26.0\n"
	const hint = "\n// To build with a clone: go mod edit -replace github.com/rpicluster/vitals=../vitals\n"
	f(Collector{}, head+hint)
	f(Collector{Version: "dev"}, head+hint)
	f(Collector{Version: "v1.2.3-4-gabcdef-dirty"}, head+hint)
	f(Collector{Version: "v1.2.3"}, head+"\nrequire github.com/rpicluster/vitals v1.2.3\n"+hint)
	f(Collector{Module: "example.com/load"}, "module example.com/load\n\ngo 1.26.0\n"+hint)
	clone, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	f(Collector{Vitals: "../..", Version: "v1.2.3"},
		head+"\nrequire github.com/rpicluster/vitals v0.0.0\n\nreplace github.com/rpicluster/vitals => "+clone+"\n")
}

func TestNothingIsWrittenWhere(t *testing.T) {
	f := func(c Collector, want string) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := c.Write(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%+v: there is something, %v", c, err)
		}
	}
	f(Collector{Name: "Load"}, `cannot be called "Load"`)
	f(Collector{Name: "../load"}, "cannot be called")
	f(Collector{}, "cannot be called")
	f(Collector{Name: "load", Module: "a b"}, `"a b" is no path of a Go module; it is like example.com/load`)
	f(Collector{Name: "load", Vitals: t.TempDir()}, "is no clone of github.com/rpicluster/vitals")

	dir := t.TempDir()
	mine := filepath.Join(dir, "notes")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Collector{Name: "load"}).Write(dir); err == nil || !strings.Contains(err.Error(), "is not empty, and nothing is overwritten") {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || read(t, dir, "notes") != "mine" {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := (Collector{Name: "load"}).Write(mine); err == nil {
		t.Error("a file is taken for a directory")
	}
}

// A collector needs the Go that package plugins needs.
func TestGoVersion(t *testing.T) {
	own, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(own)) {
		if strings.HasPrefix(line, "go ") && !strings.Contains(read(t, written(t, Collector{Name: "load"}), "go.mod"), "\n"+line) {
			t.Errorf("the collector's go.mod does not say %s", line)
		}
	}
}
