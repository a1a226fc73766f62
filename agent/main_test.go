package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/output"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/builtin"
)

// The agent executes itself for its built-in collectors; here that is the
// test's own binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "plugin" {
		plugins.Serve(builtin.All()...)
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "exec-plugin" {
		fmt.Fprintln(os.Stderr, program.Exec(os.Args[2:]))
		os.Exit(126)
	}
	os.Exit(m.Run())
}

// node makes a machine with a node file and returns the file's path. $DIR in
// it is a folder of the test's, $UID the user who runs it.
func node(t *testing.T, text string) (path, dir string) {
	t.Helper()
	run, err := os.MkdirTemp("", "vitals")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	t.Setenv("RUNTIME_DIRECTORY", run)
	dir = t.TempDir()
	path = filepath.Join(dir, "node.toml")
	if err := os.WriteFile(path, []byte(strings.NewReplacer("$DIR", dir, "$UID", strconv.Itoa(os.Getuid())).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, dir
}

// call runs the program to its end.
func call(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), err
}

func TestFlags(t *testing.T) {
	f := func(args string, want flags) {
		t.Helper()
		got, err := parseFlags(strings.Fields(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			return
		}
		if diff := cmp.Diff(&want, got, cmp.AllowUnexported(flags{}), cmpopts.IgnoreFields(flags{}, "urlAttempts"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
	f("", flags{command: "run"})
	f("--config x --test", flags{command: "run", sources: config.Sources{Files: []string{"x"}}, test: true})
	f("-config=x -once -debug", flags{command: "run", sources: config.Sources{Files: []string{"x"}}, once: true, debug: true})
	f("--input-filter cpu:ram --output-filter file", flags{command: "run", inputFilter: []string{"cpu", "ram"}, outputFilter: []string{"file"}})
	f("status --json", flags{command: "status", json: true})
	f("--json status", flags{command: "status", json: true})
	f("config check --config x", flags{command: "config check", sources: config.Sources{Files: []string{"x"}}})
	f("--config x config check --quiet", flags{command: "config check", sources: config.Sources{Files: []string{"x"}}, quiet: true})
	f("--version", flags{command: "version"})
	f("run --debug", flags{command: "run", debug: true})
	f("status --help", flags{help: true, args: []string{"status"}})
	f("help config check", flags{help: true, args: []string{"config", "check"}})
	f("config", flags{help: true, args: []string{"config"}})
	f("--config x -config=y --config-directory d -config-directory e", flags{
		command: "run", sources: config.Sources{Files: []string{"x", "y"}, Directories: []string{"d", "e"}},
	})
}

// Scripts can tell a command line that is wrong from anything else that is.
func TestExitCodes(t *testing.T) {
	f := func(args string, want int) {
		t.Helper()
		if _, _, err := call(t, strings.Fields(args)...); err == nil || exitCode(err) != want {
			t.Errorf("%s: %v", args, err)
		}
	}
	f("nonsense", 2)
	f("nonsense --help", 2)
	f("--colour", 2)
	f("--config", 2)
	f("status now", 2)
	f("--test --once", 2)
	f("--watch-config inotify", 2)
	f("--watch-interval soon", 2)
	f("buffer show influxdb --limit many", 2)
	f("config create --section-filter agents", 2)
	f("join 10.7.0.1:8186", 2)
	f("join https://10.7.0.1:8186 --pin x", 2)
	f("join http://10.7.0.1:8186 --pin sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 2)
	f("config check --config /absent", 1)
	f("status", 1)
}

func TestWrongFlags(t *testing.T) {
	f := func(args, want string) {
		t.Helper()
		_, _, err := call(t, strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	f("--confg x", "did you mean --config?")
	f("--colour", "there is no flag --colour; see vitals-agent --help")
	f("--config", "needs an argument")
	f("-watch-config inotify", "it is notify or poll")
	f("statu", `did you mean "status"?`)
	f("statu now", `there is no command "statu"; did you mean "status"?`)
	f("config chek", `there is no command "config chek"; did you mean "config check"?`)
	f("plugin list", `did you mean "plugins list"?`)
	f("colour blue", `there is no command "colour"; see vitals-agent --help`)
	f("help statu", `did you mean "status"?`)
	f("status now", `status takes nothing after it, such as "now"`)
	f("status --once", "--once is not for status; see vitals-agent status --help")
	f("--json", "--json is not for run")
	f("--test --once", "exclude each other")
	f("--select site", "is not a selector")
	f("--section-filter agent", "--section-filter is not for run")
	f("config create --section-filter agents", "the sections are agent, outputs and inputs")
	f("config create --input-filter cpuu", "no collector that is built in is called \"cpuu\"")
	f("config create --output-filter influx", "there is no output \"influx\"")
	f("--watch-interval soon", "invalid")
	f("--test-wait soon", "invalid")
	f("--sample-config", "see vitals-agent config create")
	f("--usage cpu", "see vitals-agent config create --input-filter NAME")
	f("--input-list", "see vitals-agent plugins list")
	f("--output-list", "see vitals-agent config create")
	f("--deprecation-list", "vitals-agent config check warns")
	f("--plugin-directory x", "set plugin_directory")
	f("--non-strict-env-handling", `write debug = "${DEBUG}", in quotes`)
	f("--old-env-behavior", `write debug = "${DEBUG}", in quotes`)
	f("--password x", "no secret store of vitals-agent is locked")
	f("--pprof-addr x", "serves no profiles")
	f("--print-plugin-config-source", "name the file and the line")
	f("--config-url-watch-interval soon", "invalid")
	f("--config-url-retry-attempts soon", "invalid")
}

// TestFlagsThatAreForTelegrafOnly has each of them taken, and changing nothing.
func TestFlagsThatAreForTelegrafOnly(t *testing.T) {
	for _, args := range []string{
		"--strict-env-handling", "-strict-env-handling", "--unprotected", "--processor-filter a:b", "--aggregator-filter a",
		"--secretstore-filter a", "--watch-debounce-interval 1s",
	} {
		f, err := parseFlags(strings.Fields(args))
		if err != nil || f.command != "run" {
			t.Errorf("%s: %v", args, err)
			continue
		}
		f.args = nil
		if diff := cmp.Diff(&flags{command: "run"}, f, cmp.AllowUnexported(flags{}), cmpopts.IgnoreFields(flags{}, "urlAttempts"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

func TestFlagsOfTelegrafs(t *testing.T) {
	f := func(args string, want flags) {
		t.Helper()
		got, err := parseFlags(strings.Fields(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			return
		}
		want.command = "run"
		if diff := cmp.Diff(&want, got, cmp.AllowUnexported(flags{}), cmpopts.IgnoreFields(flags{}, "urlAttempts"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
	f("--test-wait 3", flags{test: true, testWait: 3})
	f("--pidfile /run/x.pid", flags{pidFile: "/run/x.pid"})
	f("--watch-config poll --watch-interval 500ms", flags{watchConfig: "poll", watchInterval: 500 * time.Millisecond})
	f("--skip-unknown-plugins", flags{skipUnknown: true})
	f("--select a=b;c=d --select e=f*", flags{selectors: []config.Selector{{"a": "b", "c": "d"}, {"e": "f*"}}})
}

// TestConfigCreate has each node file that is printed pass the check.
func TestConfigCreate(t *testing.T) {
	f := func(inputs, outputs int, args ...string) {
		t.Helper()
		text, _, err := call(t, append([]string{"config", "create"}, args...)...)
		if err != nil {
			t.Errorf("%q: %v", args, err)
			return
		}
		path, _ := node(t, text)
		out, stderr, err := call(t, "config", "check", "--config", path)
		if want := "it has " + count(inputs, "input") + " and " + count(outputs, "output") + "\n"; err != nil || !strings.HasSuffix(out, want) {
			t.Errorf("%q: %s%v\nwant %s", args, out, err, want)
		}
		if warnings := strings.Count(stderr, "warning: "); warnings != strings.Count(stderr, "the environment variable INFLUX_") { // which is not set
			t.Errorf("%q: %s", args, stderr)
		}
	}
	f(8, 1)
	f(3, 1, "--input-filter", "cpu:mem:temp")
	f(1, 2, "--input-filter", "swap", "--output-filter", "influxdb_v2:file")
	f(8, 4, "--output-filter", "influxdb:influxdb_v2:file:discard")
	text, _, err := call(t, "config", "create", "--section-filter", "agent")
	if err != nil || !strings.Contains(text, "[agent]") || strings.Contains(text, "[[inputs") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestTestWaitShowsEvents(t *testing.T) {
	path, dir := node(t, "[agent]\nomit_hostname = true\n[[inputs.execd]]\n  command = [\"sh\", \"-c\", \"echo event value=1; sleep 60\"]\n  signal = \"none\"\n  data_format = \"influx\"\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &printed{then: cancel}
	var stderr strings.Builder
	err := run(ctx, []string{"--config", path, "--test-wait", "120", "--pidfile", dir + "/pid"}, out, &stderr)
	if err != nil || !strings.HasPrefix(out.String(), "> event value=1 ") {
		t.Errorf("%s%s%v", out, &stderr, err)
	}
	if _, stderr, err := call(t, "--config", path, "--test-wait", "1"); err != nil {
		t.Errorf("its end: %s%v", stderr, err)
	}
	if _, err := os.Stat(dir + "/pid"); err == nil {
		t.Error("a pid file is written for a test")
	}
}

// printed is what is printed, up to its first line's end and after it.
type printed struct {
	bytes.Buffer
	then func()
}

func (p *printed) Write(text []byte) (int, error) {
	n, err := p.Buffer.Write(text)
	if bytes.Contains(p.Bytes(), []byte("\n")) {
		p.then()
	}
	return n, err
}

func TestPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	remove, err := writePID(path)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("%q, %v", text, err)
	}
	remove()
	if _, err := os.Stat(path); err == nil {
		t.Error("it is still there")
	}
	if _, err := writePID("/no/such/directory/pid"); err == nil || !strings.Contains(err.Error(), "--pidfile: ") {
		t.Error(err)
	}
}

// A command is checked by what its line in the table says.
func TestArgumentsOfACommand(t *testing.T) {
	f := func(args string, given string, want string) {
		t.Helper()
		err := command{name: "c", args: args}.check(strings.Fields(given), nil)
		if text := fmt.Sprint(err); text != want {
			t.Errorf("%q for %q: %s", given, args, text)
		}
	}
	f("FILE", "a", "<nil>")
	f("FILE", "", "c: FILE is missing; see vitals-agent c --help")
	f("FILE", "a b", `c takes FILE and nothing after it, such as "b"`)
	f("FILE…", "a b c", "<nil>")
	f("FILE…", "", "c: FILE… is missing; see vitals-agent c --help")
}

func TestHelpAndVersion(t *testing.T) {
	f := func(args, want string) {
		t.Helper()
		out, _, err := call(t, strings.Fields(args)...)
		if err != nil || !strings.HasPrefix(out, want) {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	for _, args := range []string{"--help", "-h", "help", "run --help", "--config x --help"} {
		f(args, "vitals-agent reads the vital signs")
	}
	f("status --help", "vitals-agent status: how the running agent is doing\n\nUsage:\n  vitals-agent status [--json]\n\nAsks")
	f("--json --help status", "vitals-agent status: ")
	f("help config check", "vitals-agent config check: ")
	f("config", "vitals-agent config has these commands:\n  config create  ")
	f("version", "vitals-agent dev\n")
	f("--version", "vitals-agent dev\n")
}

// What a terminal shows is 100 letters wide, and names every command.
// Of each flag that a command has its help says what it is for.
func TestHelpExplainsEveryFlag(t *testing.T) {
	for _, c := range commands() {
		text, _, err := call(t, append(strings.Fields(c.name), "--help")...)
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(c.flags) {
			if m := regexp.MustCompile(`(?m)^  --` + name + `(?: +(?:[A-Z][A-Z:=]*|"[^"]*"|[a-z]+(?:\|[a-z]+)+))?\s+(\S.*)`).FindStringSubmatch(text); m == nil || strings.HasPrefix(m[1], "-") {
				t.Errorf("vitals-agent %s --help does not say what --%s is:\n%s", c.name, name, text)
			}
		}
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	whole, err := helpFor(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		if !strings.Contains(whole, "\n  "+c.head()+" ") || c.short == "" || c.run == nil {
			t.Errorf("%s is not in the help, or does nothing", c.name)
		}
		own, err := helpFor(strings.Fields(c.name))
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(whole + own) {
			if n := utf8.RuneCountInString(line); n > 101 {
				t.Errorf("%d letters: %s", n, line)
			}
		}
	}
}

func TestNoNodeFile(t *testing.T) {
	node(t, "")
	t.Setenv("VITALS_CONFIG", "/nowhere/node.toml")
	_, _, err := call(t)
	if err == nil || !strings.Contains(err.Error(), "there is no node file: $VITALS_CONFIG names /nowhere/node.toml") {
		t.Error(err)
	}
	_, _, err = call(t, "--config", "/nowhere/else.toml")
	if err == nil || !strings.Contains(err.Error(), "/nowhere/else.toml: no such file") {
		t.Error(err)
	}
}

func TestConfigCheck(t *testing.T) {
	sound, _ := node(t, "[[inputs.cpu]]\n[[outputs.file]]\n")
	if out, _, err := call(t, "config", "check", "--config", sound); err != nil || !strings.HasSuffix(out, "node.toml: no mistake in the agent's part; it has 1 input and 1 output\n") {
		t.Error(out, err)
	}
	t.Setenv("NOPE", "")
	os.Unsetenv("NOPE")
	unset, dir := node(t, "[agent]\nplugin_directory = [\"$DIR\"]\n[[inputs.broken]]\n[[inputs.cpu]]\n[[outputs.influxdb]]\npassword = \"${NOPE}\"\n")
	if err := os.WriteFile(filepath.Join(dir, "vitals-plugin-broken"), []byte("#!/bin/sh\necho out of order >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, stderr, err := call(t, "config", "check", "--config", unset)
	if err != nil || !strings.HasSuffix(out, "it has 2 inputs and 1 output\n") {
		t.Error(out, err)
	}
	if !strings.Contains(stderr, "warning: "+unset+":6:1: outputs.influxdb.password: the environment variable NOPE") ||
		!strings.Contains(stderr, "warning: "+unset+":3:1: inputs.broken: its options are not checked: start ") || strings.Count(stderr, "out of order") != 1 {
		t.Error(stderr)
	}
	wrong, _ := node(t, "[agent]\nintervall = 1\n[[inputs.cpu]]\npercpux = 1\n[[outputs.file]]\n")
	_, _, err = call(t, "config", "check", "--config", wrong)
	if err == nil || !strings.Contains(err.Error(), "2 mistakes") || !strings.Contains(err.Error(), "node.toml:4:1: inputs.cpu.percpux") {
		t.Error(err)
	}
}

func TestTestGatherPrintsEveryLine(t *testing.T) {
	path, _ := node(t, "[agent]\nhostname = \"n1\"\n[[inputs.cpu]]\n[[inputs.mem]]\n[[inputs.swap]]\n")
	out, stderr, err := call(t, "--config", path, "--test", "--input-filter", "cpu:mem")
	if err != nil {
		t.Fatal(err, stderr)
	}
	for _, want := range []string{"> cpu,cpu=cpu-total,host=n1 usage_user=", "> mem,host=n1 total="} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "swap,") || strings.Count(out, "\n") != strings.Count(out, "> ") {
		t.Error(out)
	}
}

func TestTestGatherFailsWithACollector(t *testing.T) {
	path, dir := node(t, "[agent]\nplugin_directory = [\"$DIR\"]\n[[inputs.broken]]\n[[inputs.mem]]\n")
	if err := os.WriteFile(filepath.Join(dir, "vitals-plugin-broken"), []byte("#!/bin/sh\necho out of order >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, stderr, err := call(t, "--config", path, "--test")
	if err == nil || !strings.Contains(err.Error(), "broken: ") || !strings.Contains(err.Error(), "it last said: out of order") {
		t.Error(err)
	}
	if strings.Count(stderr, "out of order") != 1 {
		t.Error(stderr)
	}
	if !strings.Contains(out, "> mem,") {
		t.Errorf("the other collector says nothing: %q", out)
	}
}

// store is a server that keeps the lines it is sent.
type store struct {
	*httptest.Server
	mu   sync.Mutex
	text strings.Builder
}

func newStore(t *testing.T) *store {
	s := &store{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/write" {
			body, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if _, err := io.Copy(&s.text, body); err != nil {
				t.Error(err)
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *store) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestOnce(t *testing.T) {
	s := newStore(t)
	path, _ := node(t, "[[inputs.mem]]\n[[inputs.internal]]\n[[outputs.influxdb]]\nurls = [\""+s.URL+"\"]\n")
	if _, stderr, err := call(t, "--config", path, "--once"); err != nil {
		t.Fatal(err, stderr)
	}
	if !strings.HasPrefix(s.String(), "mem,host=") || !strings.Contains(s.String(), "\ninternal_agent,") {
		t.Error(s)
	}
	path, _ = node(t, "[[inputs.mem]]\n[[outputs.influxdb]]\nurls = [\"http://127.0.0.1:1\"]\n")
	_, stderr, err := call(t, "--config", path, "--once")
	if err == nil || !strings.Contains(err.Error(), "output influxdb: 1 line was not sent and is lost") || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	if strings.Contains(stderr, "nothing is lost") || strings.Contains(stderr, "tried again") {
		t.Error(stderr)
	}
}

func TestOnceFailsIfLinesAreRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := gzip.NewReader(r.Body)
		if err != nil {
			return // not a write
		}
		lines, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(lines), "swap,") {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"field type conflict"}`)
	}))
	defer server.Close()
	path, _ := node(t, "[[inputs.mem]]\n[[inputs.swap]]\n[[outputs.influxdb]]\nurls = [\""+server.URL+"\"]\nskip_database_creation = true\n")
	_, stderr, err := call(t, "--config", path, "--once")
	if err == nil || err.Error() != "output influxdb: 2 lines were refused for good; the log says why" {
		t.Error(err)
	}
	if !strings.Contains(stderr, "field type conflict") {
		t.Error(stderr)
	}
}

// patience is for what may be slow, on a machine that is.
const patience = 2 * time.Minute

// serve runs the agent until stop is called.
func serve(t *testing.T, path string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"--config", path}, io.Discard, io.Discard) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

func TestServe(t *testing.T) {
	db := newStore(t)
	path, dir := node(t, `
[agent]
interval = "1s"
flush_interval = "1h"
hostname = "n1"
buffer_directory = "$DIR/buffer"
logfile = "$DIR/log/agent.log"
[[inputs.mem]]
[[inputs.node]]
[[outputs.influxdb]]
urls = ["`+db.URL+`"]
`)
	stop := serve(t, path)
	var s status
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err := control.Get(t.Context(), "agent", "/status", &s); err == nil && len(s.Inputs) == 2 && s.Inputs[0].Gathered >= 2 && s.Inputs[1].Gathered > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not gather: %+v", s)
		}
	}
	if s.Node != "n1" || s.Config != path || s.Inputs[1].Interval != time.Hour || s.Inputs[1].Gathered > 2 || s.Outputs[0].ID != "influxdb" {
		t.Errorf("%+v", s)
	}
	table, _, err := call(t, "status")
	for deadline := time.Now().Add(patience); !strings.Contains(table, "mem    ok") && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		table, _, err = call(t, "status") // a reading was late
	}
	if err != nil || !strings.Contains(table, "mem    ok") || !strings.Contains(table, db.URL) {
		t.Errorf("%v\n%s", err, table)
	}
	text, _, err := call(t, "status", "--json")
	if err != nil || !json.Valid([]byte(text)) {
		t.Errorf("%v\n%s", err, text)
	}
	if out, _, err := call(t, "alive"); err != nil || out != "" {
		t.Errorf("%q, %v", out, err)
	}
	if _, _, err := call(t, "--config", path); err == nil || !strings.Contains(err.Error(), "another vitals-agent is running") {
		t.Error(err)
	}
	own := os.Getenv("RUNTIME_DIRECTORY")
	node(t, "") // elsewhere, its socket does not tell of it
	if _, _, err := call(t, "--config", path); err == nil || !strings.Contains(err.Error(), "another vitals-agent seems to run with this buffer") {
		t.Error(err)
	}
	t.Setenv("RUNTIME_DIRECTORY", own)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(db.String(), "mem,host=n1 "); n < 2 {
		t.Errorf("%d lines were sent", n)
	}
	if _, _, err := call(t, "alive"); err == nil || !strings.Contains(err.Error(), "does not seem to run") {
		t.Error(err)
	}
	if _, _, err := call(t, "status"); err == nil || !strings.Contains(err.Error(), "does not seem to run") {
		t.Error(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log", "agent.log"))
	if err != nil || !strings.Contains(string(log), "vitals-agent runs") || strings.Contains(string(log), "level=ERROR") {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestStatusTable(t *testing.T) {
	now := time.Now()
	s := status{
		Version: "1", Node: "n1", Config: "/c", Uptime: 90 * time.Minute,
		Inputs: []collect.Status{
			{ID: "cpu", State: collect.StateOK, Interval: 10 * time.Second, LastGather: now.Add(-3 * time.Second), LastDuration: time.Millisecond, Gathered: 7, Program: "built-in", PID: 12},
			{ID: "dice", State: collect.StateFailing, Interval: time.Hour, Program: "vitals-plugin-dice", LastError: "no answer", LastErrorAt: now.Add(-time.Minute), Errors: 2},
		},
		Outputs: []output.Status{
			{ID: "influxdb", State: output.StateOK, URL: "http://x", MemoryLines: 1, SpoolLines: 4, Oldest: now.Add(-49 * time.Hour), Buffer: "disk is full"},
		},
	}
	var b bytes.Buffer
	if err := s.print(&b, now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"vitals-agent 1 on n1, up 1h30m, /c\n", "cpu    ok       10s    3s    1ms   7", "built-in 12", "vitals-plugin-dice (not running)",
		"5 (4 on disk)  2d", "dice: 1m00s ago: no answer", "influxdb: no buffer on disk: disk is full",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if !s.failing() {
		t.Error("an input is failing")
	}
	if s.Inputs[1].State = collect.StateOK; s.failing() {
		t.Error("nothing is failing")
	}
}

func TestStaleSocketDirectoriesAreRemoved(t *testing.T) {
	node(t, "")
	base, err := control.MakeDirectory()
	if err != nil {
		t.Fatal(err)
	}
	ours := os.Getpid()
	left := func(pid int, since string) string {
		dir := filepath.Join(base, fmt.Sprintf("%s%d-%s", socketPrefix, pid, since))
		if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dead, reused, alive := left(999999999, "1"), left(ours, "1"), left(os.Getppid(), started(os.Getppid()))
	orphan := exec.Command("sleep", "600") // of a plugin of an agent that was killed
	orphan.Env, orphan.SysProcAttr = []string{"PLUGIN_UNIX_SOCKET_DIR=" + dead + "/x"}, &syscall.SysProcAttr{Setsid: true}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = orphan.Process.Kill() })
	dir, remove, err := socketDirectory()
	if err != nil {
		t.Fatal(err)
	}
	if err := orphan.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("what an agent that was killed has left: %v", err)
	}
	if dir != filepath.Join(base, fmt.Sprintf("%s%d-%s", socketPrefix, ours, started(ours))) {
		t.Error(dir)
	}
	there := func(dir string, want bool) {
		t.Helper()
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v", filepath.Base(dir), err)
		}
	}
	there(dead, false)
	there(reused, false)
	there(alive, true)
	there(dir, true)
	remove()
	there(dir, false)
}

// What to do about plugins that there are not is told once, and is no mistake.
func TestMistakesAreCounted(t *testing.T) {
	path, _ := node(t, "[[inputs.cpu]]\n[[inputs.docker]]\n[[outputs.kafka]]\n")
	_, _, err := call(t, "config", "check", "--config", path)
	if err == nil || !strings.HasPrefix(err.Error(), "2 mistakes, nothing was started\n") ||
		!strings.Contains(err.Error(), "\nnot in vitals-agent: inputs.docker, outputs.kafka. ") {
		t.Error(err)
	}
}

func TestCommandsOfTelegraf(t *testing.T) {
	f := func(want string, words ...string) {
		t.Helper()
		if _, _, err := call(t, words...); err == nil || !strings.HasPrefix(err.Error(), strings.Join(words, " ")+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", words, err)
		}
	}
	f("vitals-agent config check names every old option with its new name", "config", "migrate")
	f("vitals-agent plugins list", "plugins", "inputs")
	f("vitals-agent config create --section-filter outputs", "plugins", "outputs")
	f("this version of vitals-agent has none", "plugins", "processors")
	f("@{ID:KEY}", "secrets", "list")
	f("@{ID:KEY}", "secrets")
	f("systemd", "service", "install")
}
