package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// buildDice builds the example in Go as a drop-in in dir.
func buildDice(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "vitals-plugin-dice")
	if out, err := exec.Command("go", "build", "-o", file, "../plugins/examples/dice").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// describeJSON runs plugins describe and reads what it prints.
func describeJSON(t *testing.T, args ...string) described {
	t.Helper()
	out, stderr, err := call(t, append([]string{"plugins", "describe"}, args...)...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr)
	}
	var d described
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return d
}

func TestDescribeAFile(t *testing.T) {
	path, dir := node(t, "[agent]\nplugin_owner = \"$UID\"\nplugin_directory = [\"$DIR\"]\n[[inputs.cpu]]\n")
	file := buildDice(t, dir)
	want := described{File: file, SDK: "vitals-go", APIMinor: 1, Collectors: []describedCollector{{
		Name: "dice", Aliases: []string{}, Description: "Rolls a die.", Kind: "poll", Options: []string{"sides"},
		Measurements: []string{"dice"}, SampleConfig: "# Rolls a die.\n[[inputs.dice]]\n  # sides = 6\n",
	}}}
	for _, word := range []string{file, "dice"} {
		if diff := cmp.Diff(want, describeJSON(t, word, "--config", path)); diff != "" {
			t.Errorf("%s: %s", word, diff)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("RUNTIME_DIRECTORY"), "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%q is left, %v", left, err)
	}
}

func TestDescribeWhatIsBuiltIn(t *testing.T) {
	node(t, "")
	d := describeJSON(t, "temp")
	if len(d.Collectors) != 1 || d.Collectors[0].Name != "temperature" || d.File != "" {
		t.Errorf("%+v", d)
	}
	if d := describeJSON(t, "execd"); d.Collectors[0].Kind != "stream" {
		t.Errorf("%+v", d)
	}
	if d := describeJSON(t, "node"); d.Collectors[0].DefaultInterval != "1h0m0s" {
		t.Errorf("%+v", d)
	}
}

func TestDescribeWhatIsNot(t *testing.T) {
	path, dir := node(t, "[agent]\nplugin_owner = \"$UID\"\nplugin_directory = [\"$DIR/plugins\"]\n[[inputs.cpu]]\n")
	f := func(word, want string) {
		t.Helper()
		_, _, err := call(t, "plugins", "describe", word, "--config", path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", word, err)
		}
	}
	f("cpuu", `none is in `+dir+`/plugins; did you mean "cpu"?`)
	f("./cpuu", "no such file or directory")
	f("/bin/true", "start /bin/true: it ended without the go-plugin handshake")
	script := filepath.Join(dir, "speaks")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no license >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f(script, "it last said: no license")
}

// As root nothing is run that the agent would not run, but where that is asked
// for, and then within the limits.
func TestAFileThatIsRefusedIsNotRunAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this is about root; run the tests as root")
	}
	_, dir := node(t, "")
	ran := filepath.Join(dir, "ran")
	script := filepath.Join(dir, "vitals-plugin-x")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nulimit -n >> "+ran+"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(script, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"describe", "check"} {
		_, _, err := call(t, "plugins", command, script)
		if err == nil || !strings.Contains(err.Error(), "unless with --force: "+script+" is writable by everybody") {
			t.Errorf("%s: %v", command, err)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Fatalf("%s has run it", command)
		}
	}
	for _, command := range []string{"describe", "check"} {
		if _, stderr, err := call(t, "plugins", command, script, "--force"); err == nil || !strings.Contains(stderr, "warning: the agent would not run it") {
			t.Errorf("%s: %v %s", command, err, stderr)
		}
		text, err := os.ReadFile(ran)
		if err != nil || strings.Trim(string(text), "256\n") != "" {
			t.Errorf("%s: open files: %q, %v", command, text, err)
		}
		os.Remove(ran)
	}
}
