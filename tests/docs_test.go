package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sample is a fenced block of a document.
type sample struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func samples(t *testing.T, document string) []sample {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		all = append(all, sample{m[1], m[2]})
	}
	if len(all) == 0 {
		t.Fatalf("%s has no samples", document)
	}
	return all
}

// samplesOf returns the texts of one language.
func samplesOf(t *testing.T, document, language string) []string {
	t.Helper()
	var texts []string
	for _, s := range samples(t, document) {
		if s.language == language {
			texts = append(texts, s.text)
		}
	}
	return texts
}

// buildSample builds Go code of a document as a drop-in.
func (m *machine) buildSample(name, code string) (dir string) {
	m.t.Helper()
	// Inside the module, so that its imports resolve.
	src, err := os.MkdirTemp(filepath.Join(root, "tests"), "sample")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { os.RemoveAll(src) })
	if err := os.WriteFile(filepath.Join(src, "main.go"), []byte(code), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if out, err := exec.Command("gofmt", "-l", src).CombinedOutput(); err != nil || len(out) > 0 {
		m.t.Errorf("the sample is not formatted by gofmt: %s", out)
	}
	return m.buildPlugin(name, "./tests/"+filepath.Base(src))
}

func TestCollectorsOfTheReadme(t *testing.T) {
	m := newMachine(t)
	golang, python := samplesOf(t, "README.md", "go"), samplesOf(t, "README.md", "python")
	if len(golang) != 1 || len(python) != 1 {
		t.Fatalf("the README has %d samples in Go and %d in Python", len(golang), len(python))
	}
	dir := m.buildSample("dice", golang[0])
	m.installPython(dir)
	if err := os.WriteFile(filepath.Join(dir, "vitals-plugin-pydice"), []byte(python[0]), 0o755); err != nil {
		t.Fatal(err)
	}
	var tables string
	for _, s := range samplesOf(t, "README.md", "toml") {
		if strings.Contains(s, "inputs.dice") {
			tables = s
		}
	}
	file := m.file("node.toml", "[agent]\n  hostname = \"primary\"\n  plugin_directory = [\"$DIR/plugins\"]\n"+tables+"[[outputs.file]]\n")
	stdout, stderr, code := run(t, m.command("vitals-agent", "--config", file, "--test"))
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, want := range []string{`(?m)^> dice,host=primary value=\d+i \d+$`, `(?m)^> dice,host=primary,made_in=python value=\d+i \d+$`} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("no line like %s:\n%s", want, stdout)
		}
	}
}

func TestCollectorOfTheAuthorsGuide(t *testing.T) {
	m := newMachine(t)
	m.buildSample("load", samplesOf(t, "docs/collectors.md", "go")[0])
	config := "[agent]\n  hostname = \"primary\"\n  plugin_directory = [\"$DIR/plugins\"]\n[[outputs.file]]\n[[inputs.load]]\n"
	stdout, stderr, code := run(t, m.command("vitals-agent", "--config", m.file("node.toml", config), "--test"))
	if !regexp.MustCompile(`^> load,host=primary,source=proc load1=[0-9.]+ \d+\n$`).MatchString(stdout) || code != 0 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	_, stderr, code = run(t, m.command("vitals-agent", "--config", m.file("bad.toml", config+"  pth = \"x\"\n"), "--test"))
	if code != 1 || !strings.Contains(stderr, "bad.toml:6:1: inputs.load.pth") || !strings.Contains(stderr, `"path"`) {
		t.Errorf("a misspelt option of a drop-in: exit code %d\n%s", code, stderr)
	}
}

func TestNodeFilesOfTheReadme(t *testing.T) {
	t.Parallel()
	n := 0
	for _, text := range samplesOf(t, "README.md", "toml") {
		m := newMachine(t)
		if strings.Contains(text, "[agent]") {
			n++
			if _, stderr, code := run(t, m.command("vitals-agent", "config", "check", "--config", m.file("node.toml", text))); code != 0 {
				t.Errorf("vitals-agent: exit code %d\n%s\n%s", code, stderr, text)
			}
		}
		if strings.Contains(text, "[relay]") {
			n++
			if _, stderr, code := run(t, m.command("vitals-relay", "config", "check", "--config", m.file("node.toml", text))); code != 0 {
				t.Errorf("vitals-relay: exit code %d\n%s\n%s", code, stderr, text)
			}
		}
	}
	if n < 3 {
		t.Errorf("only %d node files were checked", n)
	}
}

// A link to a file that has moved helps nobody.
func TestLinksOfTheDocuments(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	documents, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"*.md", "plugins/*/README.md", "plugins/*/*/README.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, more...)
	}
	for _, d := range documents {
		text, err := os.ReadFile(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(d), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", d, m[1])
			}
		}
	}
}
