package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// listed runs plugins list and returns what it says of files, and of cpu.
func listed(t *testing.T, args ...string) (l pluginList, byPath map[string]listedCollector) {
	t.Helper()
	out, stderr, err := call(t, append([]string{"plugins", "list", "--json"}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	byPath = map[string]listedCollector{}
	for _, c := range l.Collectors {
		if c.Path != "" || c.Name == "cpu" {
			byPath[c.Path] = c
		}
	}
	return l, byPath
}

func TestPluginsListWithoutAnAgent(t *testing.T) {
	path, dir := node(t, "[agent]\nplugin_owner = \"$UID\"\nplugin_directory = [\"$DIR/a\", \"$DIR/b\"]\n[[inputs.dice]]\nalias = \"green\"\n[[inputs.mem]]\n")
	for _, sub := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dice := buildDice(t, filepath.Join(dir, "a"))
	second := file("b/vitals-plugin-dice", 0o755)
	cpu := file("b/vitals-plugin-cpu", 0o755)
	plain := file("b/vitals-plugin-plain", 0o644)

	l, got := listed(t, "--config", path)
	if l.AgentRuns {
		t.Error("an agent runs")
	}
	sum := got[dice].SHA256
	if len(sum) != 64 {
		t.Errorf("%+v", got[dice])
	}
	want := map[string]listedCollector{
		"":     {Name: "cpu", BuiltIn: true, Usable: true, Inputs: []listedInput{}},
		dice:   {Name: "dice", Path: dice, SHA256: sum, Usable: true, Inputs: []listedInput{{ID: "dice::green"}}},
		second: {Name: "dice", Path: second, SHA256: got[second].SHA256, Reason: dice + " is used", Inputs: []listedInput{}},
		cpu:    {Name: "cpu", Path: cpu, SHA256: got[cpu].SHA256, Reason: "the built-in collector of this name is used", Inputs: []listedInput{}},
		plain: {Name: "plain", Path: plain, Reason: plain + " is not executable (mode 0644)",
			Remedy: "chmod +x " + plain, Inputs: []listedInput{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	out, _, err := call(t, "plugins", "list", "--config", path)
	for _, part := range []string{"ram, mem           yes      mem          -      -        built in\n",
		"\n" + plain + " is not used: is not executable (mode 0644)\n  to mend that: chmod +x " + plain + "\n", "\nThere are no states: the agent does not seem to run"} {
		if err != nil || !strings.Contains(out, part) {
			t.Errorf("%v, %q is not in\n%s", err, part, out)
		}
	}
}

func TestPluginsListAsksTheRunningAgent(t *testing.T) {
	path, dir := node(t, "[agent]\nplugin_owner = \"$UID\"\ninterval = \"1s\"\nplugin_directory = [\"$DIR\"]\n[[inputs.dice]]\n[[outputs.file]]\nfiles = [\"$DIR/out\"]\n")
	dice := buildDice(t, dir)
	serve(t, path)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		l, got := listed(t) // without --config: the agent knows which file
		if in := got[dice].Inputs; l.AgentRuns && len(in) == 1 && in[0].ID == "dice" && in[0].State == "ok" && in[0].PID > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", got)
		}
	}
}

func TestPluginsTrust(t *testing.T) {
	path, dir := node(t, "[agent]\nplugin_owner = \"$UID\"\nplugin_directory = [\"$DIR\"]\nplugin_policy = \"pinned\"\nplugin_lock_file = \"$DIR/lock/plugins.lock\"\n[[inputs.dice]]\n")
	dice := buildDice(t, dir)
	if _, got := listed(t, "--config", path); got[dice].Usable || got[dice].Remedy != "vitals-agent plugins trust "+dice {
		t.Errorf("%+v", got[dice])
	}
	out, stderr, err := call(t, "plugins", "trust", dice, "--config", path)
	if err != nil || stderr != "" || len(out) != 64+2+len(dice)+1 || !strings.HasSuffix(out, "  "+dice+"\n") {
		t.Errorf("%v %q %q", err, out, stderr)
	}
	if _, got := listed(t, "--config", path); !got[dice].Usable || got[dice].SHA256 != out[:64] {
		t.Errorf("%+v", got[dice])
	}
	out, _, err = call(t, "plugins", "trust", "--remove", dice, "--config", path)
	if err != nil || out != dice+" is not pinned any more in "+dir+"/lock/plugins.lock\n" {
		t.Errorf("%v %q", err, out)
	}
	if _, got := listed(t, "--config", path); got[dice].Usable {
		t.Errorf("%+v", got[dice])
	}
	if _, _, err := call(t, "plugins", "trust", dir+"/none", "--config", path); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	if _, _, err := call(t, "plugins", "trust", "--remove", dice, "--config", path); err == nil || !strings.Contains(err.Error(), "is not in ") {
		t.Error(err)
	}
}

// Without pinning a pin does nothing yet, which is worth saying.
func TestPluginsTrustSaysWhenItCounts(t *testing.T) {
	path, dir := node(t, "[agent]\nplugin_owner = \"$UID\"\nplugin_directory = [\"$DIR\"]\nplugin_lock_file = \"$DIR/plugins.lock\"\n[[inputs.cpu]]\n")
	script := filepath.Join(dir, "vitals-plugin-x")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, stderr, err := call(t, "plugins", "trust", script, "--config", path)
	if err != nil || !strings.Contains(stderr, `it counts once [agent] says plugin_policy = "pinned"`) ||
		!strings.Contains(stderr, "warning: pinned, and yet the agent would not run it: "+script+" is not executable") {
		t.Errorf("%v %q", err, stderr)
	}
}

func TestPluginsTrustWithoutPermission(t *testing.T) {
	err := lockError("/etc/x.lock", &os.PathError{Op: "open", Path: "/etc/x.lock", Err: os.ErrPermission})
	if !strings.Contains(err.Error(), "try again with sudo") {
		t.Error(err)
	}
}

// Whoever may put a file into a plugin directory chooses its name.
func TestNamesOfFilesDoNotReachTheTerminal(t *testing.T) {
	path, dir := node(t, "[agent]\nplugin_owner = \"$UID\"\nplugin_directory = [\"$DIR\"]\nplugin_lock_file = \"$DIR/plugins.lock\"\n[[inputs.cpu]]\n")
	evil := filepath.Join(dir, "vitals-plugin-\x1b[31mx\nok\ry\u202e")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	clean := func(what, out string) {
		t.Helper()
		if strings.ContainsAny(out, "\x1b\r\u202e") || strings.Contains(out, "\nok") || !strings.Contains(out, `vitals-plugin-\x1b[31mx`) {
			t.Errorf("%s: %q", what, out)
		}
	}
	out, _, err := call(t, "plugins", "list", "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	clean("list", out)
	evil = filepath.Join(dir, "vitals-plugin-\x1b[31mx")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, stderr, err := call(t, "plugins", "trust", evil, "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	clean("trust", out)
	clean("the warning of trust", stderr)
	out, _, err = call(t, "plugins", "trust", "--remove", evil, "--config", path)
	if err != nil {
		t.Fatal(err)
	}
	clean("trust --remove", out)
}

// What is wrong with a node file is told with the names that it has.
func TestMistakesDoNotReachTheTerminalRaw(t *testing.T) {
	path, _ := node(t, "[[inputs.\"\\u001b[31mx\"]]\n[[inputs.cpu]]\n  intervall = 1\n")
	_, _, err := call(t, "config", "check", "--config", path)
	if err == nil || !strings.Contains(err.Error(), "\n") {
		t.Fatal(err)
	}
	if got := shownLines(err.Error()); strings.Contains(got, "\x1b") || !strings.Contains(got, `\x1b[31mx`) || strings.Count(got, "\n") != strings.Count(err.Error(), "\n") {
		t.Errorf("%q", got)
	}
}
