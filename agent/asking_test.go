package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/output"
	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/rights"
	"github.com/rpicluster/vitals/internal/spool"
)

// serving starts an agent and waits until it can be asked something.
func serving(t *testing.T, path string) {
	t.Helper()
	serve(t, path)
	for deadline := time.Now().Add(patience); !control.Running("agent"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent does not answer")
		}
	}
}

const askedNode = "[agent]\nplugin_owner = \"$UID\"\nplugin_directory = [\"$DIR\"]\nplugin_lock_file = \"$DIR/own.lock\"\nlogfile = \"$DIR/agent.log\"\n[[inputs.mem]]\n[[outputs.file]]\nfiles = [\"$DIR/out\"]\n"

// The one who asks for a pin is the agent that runs, wherever its node file is.
func TestPluginsTrustPinsForTheAgentThatRuns(t *testing.T) {
	path, dir := node(t, askedNode)
	script := filepath.Join(dir, "vitals-plugin-x")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	serving(t, path)
	if _, stderr, err := call(t, "plugins", "trust", script); err != nil {
		t.Fatalf("%v %s", err, stderr)
	}
	if text, err := os.ReadFile(dir + "/own.lock"); err != nil || !strings.Contains(string(text), script) {
		t.Errorf("%v %q", err, text)
	}
	other := filepath.Join(dir, "other.toml")
	if err := os.WriteFile(other, []byte("[agent]\nplugin_lock_file = \""+dir+"/other.lock\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := call(t, "plugins", "trust", script, "--config", other); err != nil {
		t.Fatalf("%v %s", err, stderr)
	}
	if _, err := os.Stat(dir + "/other.lock"); err != nil {
		t.Error(err)
	}
}

func TestSourcesAreToldAsWholePaths(t *testing.T) {
	path, dir := node(t, askedNode)
	t.Chdir(dir)
	serving(t, filepath.Base(path))
	var s status
	if err := control.Get(t.Context(), "agent", "/status", &s); err != nil {
		t.Fatal(err)
	}
	if got := s.Sources.Files; len(got) != 1 || got[0] != path {
		t.Errorf("%q, want %q", got, path)
	}
}

func TestRetryOfNothing(t *testing.T) {
	path, _ := node(t, askedNode)
	serving(t, path)
	if _, _, err := call(t, "plugins", "retry", ""); err == nil || !strings.Contains(err.Error(), `is called ""`) {
		t.Error(err)
	}
}

// Whoever looks into the log sees each reload, and why one was refused.
func TestReloadsAreLogged(t *testing.T) {
	path, dir := node(t, askedNode)
	serving(t, path)
	if _, _, err := call(t, "reload"); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("[agent]\nintervall = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := call(t, "reload"); err == nil {
		t.Error("a node file that is wrong is reloaded")
	}
	log, err := os.ReadFile(dir + "/agent.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"the node file was reloaded", "the node file was not reloaded", "intervall"} {
		if !strings.Contains(string(log), part) {
			t.Errorf("%q is not in\n%s", part, log)
		}
	}
}

// What a command could not print it has not said.
func TestOutputThatIsFull(t *testing.T) {
	path, _ := node(t, askedNode)
	serving(t, path)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"reload"}, {"reload", "--json"}, {"plugins", "check", "mem"}, {"plugins", "check", "mem", "--json"}} {
		if err := run(t.Context(), args, full, io.Discard); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// An agent that may not be asked runs all the same.
func TestPluginsListSaysWhyThereAreNoStates(t *testing.T) {
	l := pluginList{Unasked: "not allowed to open /run/vitals/agent.sock; try again with sudo"}
	if got := l.remarks(); got != "\nThere are no states: "+l.Unasked+"\n" {
		t.Error(got)
	}
	// What answers, but is no agent of ours, is told too.
	path, dir := node(t, askedNode)
	ln, err := net.Listen("unix", control.Path("agent"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	defer ln.Close()
	out, _, err := call(t, "plugins", "list", "--json", "--config", path)
	var got pluginList
	if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.AgentRuns || !strings.Contains(got.Unasked, "ask the agent") {
		t.Errorf("%s: %v %s", dir, err, out)
	}
}

func TestTheSameTroubleIsToldOnce(t *testing.T) {
	s := status{Inputs: []collect.Status{{ID: "x", Notice: "it is refused", LastError: "it is refused", LastErrorAt: time.Now()}}}
	if got := s.troubles(time.Now()); strings.Count(got, "it is refused") != 1 {
		t.Error(got)
	}
	s.Inputs[0].LastError = "connection refused"
	if got := s.troubles(time.Now()); !strings.Contains(got, "it is refused") || !strings.Contains(got, "connection refused") {
		t.Error(got)
	}
}

// What plugins and servers say does not steer the terminal of who asks.
func TestStatusIsFitForATerminal(t *testing.T) {
	evil := "\x1b[2J\u009b31m\x7f"
	s := status{
		Version: "v1", Node: "n" + evil, Config: "/node.toml", ReloadError: "2 mistakes\n" + evil, ReloadFailed: []string{evil},
		Inputs:  []collect.Status{{ID: "x", LastError: evil, Notice: "no " + evil, Program: evil}},
		Outputs: []output.Status{{ID: "o", URL: "http://x/" + evil, LastError: evil}},
	}
	var text, js strings.Builder
	if err := errors.Join(s.print(&text, time.Now()), writeJSON(&js, s)); err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{text.String(), js.String()} {
		if strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) || strings.Count(got, "[2J") < 7 {
			t.Errorf("%q", got)
		}
	}
	var back status
	if err := json.Unmarshal([]byte(js.String()), &back); err != nil || len(back.Inputs) != 1 || back.Inputs[0].LastError != evil {
		t.Errorf("%v %+v", err, back.Inputs)
	}
}

// Of an output that cannot be opened a reload does not say that nothing has
// changed, and the next one tries it again.
func TestAReloadTellsWhatCouldNotBeDone(t *testing.T) {
	more := strings.Replace(askedNode, "[[inputs.mem]]\n", "buffer_directory = \"$DIR/buffer\"\n[[inputs.mem]]\n", 1)
	path, dir := node(t, more)
	serving(t, path)
	taken, err := spool.Open(spool.Config{Directory: dir + "/buffer/second", MaxBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "[[inputs.swap]]\n[[outputs.influxdb]]\nalias = \"second\"\nurls = [\"http://127.0.0.1:1\"]\n"...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := call(t, "reload")
	if !errors.Is(err, errQuiet) || stdout != "inputs: 1 kept, started swap\noutputs: 1 kept\n" || !strings.HasPrefix(stderr, "failed: output second: another vitals-agent seems to run with this buffer") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	stdout, _, _ = call(t, "status")
	if !strings.Contains(stdout, "swap ") || !strings.Contains(stdout, "node file: reloaded, but: output second: another") || strings.Contains(stdout, "as it was") {
		t.Error(stdout)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err = call(t, "reload"); err != nil || !strings.HasSuffix(stdout, "outputs: 1 kept, started second\n") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	if stdout, _, _ = call(t, "status"); strings.Contains(stdout, "node file: ") {
		t.Error(stdout)
	}
}

// That somebody may not ask the agent is no reason to say that there is none.
func TestBuffersOfAnAgentThatMayNotBeAsked(t *testing.T) {
	path, _ := node(t, askedNode)
	serving(t, path)
	if os.Geteuid() != 0 {
		return // it takes another user
	}
	his := t.TempDir()
	if err := os.Chown(his, 65533, 65533); err != nil {
		t.Fatal(err)
	}
	err := rights.AsOwner(his, func() error {
		_, err := keeperOf(&flags{})
		return err
	})
	if err == nil || !strings.HasPrefix(err.Error(), "not allowed to open ") {
		t.Error(err)
	}
}

// What there is to know of a node file that cannot be read is not made up.
func TestPluginsByANodeFileThatCannotBeRead(t *testing.T) {
	path, dir := node(t, "[agent\n")
	t.Setenv("VITALS_CONFIG", path)
	script := filepath.Join(dir, "vitals-plugin-x")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if stdout, _, err := call(t, "plugins", "trust", "--remove", script); err == nil || !strings.Contains(err.Error(), path+":1:") {
		t.Errorf("%v %s", err, stdout)
	}
	stdout, _, err := call(t, "plugins", "list")
	if err != nil || !strings.Contains(stdout, "This goes by the defaults of plugin_directory and plugin_policy") || !strings.Contains(stdout, path+":1:") {
		t.Errorf("%v %s", err, stdout)
	}
	t.Setenv("VITALS_CONFIG", dir+"/none")
	if stdout, _, err := call(t, "plugins", "list"); err != nil || strings.Contains(stdout, "defaults of") {
		t.Errorf("%v %s", err, stdout)
	}
}
