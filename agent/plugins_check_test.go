package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/agent/conformance"
)

func TestCheckACollectorThatKeepsTheContract(t *testing.T) {
	path, dir := node(t, "[[inputs.dice]]\n  sides = 20\n  interval = \"1s\"\n[[inputs.dice]]\n")
	dice := buildDice(t, dir)
	out, stderr, err := call(t, "plugins", "check", dice, "--config", path)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr)
	}
	for _, want := range []string{
		`(?m)^ok    handshake             after \d+ms$`, `(?m)^ok    describe              dice$`,
		`(?m)^ok    wrong type            1 tried$`, `(?m)^ok    lines                 2 lines$`, `\n\n25 ok, 0 warnings, 0 failed\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("nothing is like %s in\n%s", want, out)
		}
	}
}

func TestCheckPrintsJSON(t *testing.T) {
	node(t, "")
	out, stderr, err := call(t, "plugins", "check", "swap", "--json")
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr)
	}
	var results []conformance.Result
	if err := json.Unmarshal([]byte(out), &results); err != nil || len(results) != 25 || results[1].Item != "handshake" {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCheckAProgramThatIsNone(t *testing.T) {
	_, dir := node(t, "")
	script := filepath.Join(dir, "speaks")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho hello\necho out of order >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, _, err := call(t, "plugins", "check", script)
	want := "ok    run by hand           exit status 1\n" +
		"FAIL  handshake             its first line of output is \"hello\"\n" +
		"      the contract: within 10 s, and before anything else, it prints 1|1|unix|PATH|grpc| and a newline on standard output; PATH is a socket in $PLUGIN_UNIX_SOCKET_DIR\n" +
		"FAIL  the rest              it cannot be checked without this\n" +
		"\n1 ok, 0 warnings, 2 failed\n"
	if !errors.Is(err, errQuiet) || out != want {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestCheckWithATableThatIsRefused(t *testing.T) {
	path, dir := node(t, "[[inputs.dice]]\n  side = 20\n")
	out, _, err := call(t, "plugins", "check", buildDice(t, dir), "--config", path)
	want := "FAIL  sample                " + path + `:1:1: inputs.dice: refused: side: unknown option; did you mean "sides"?`
	if !errors.Is(err, errQuiet) || !strings.Contains(out, want) {
		t.Errorf("%v\n%s", err, out)
	}
	if _, _, err := call(t, "plugins", "check", "cpu", "--config", path+"x"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}
