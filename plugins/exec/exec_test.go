//go:build linux

package exec

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
	"github.com/rpicluster/vitals/plugins/proto"
)

func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(*testing.T, string) plugins.Description { return Description() })
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestSplit(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		got, err := split(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
	f("")
	f("  \t\n ")
	f("a b  c\td\n", "a", "b", "c", "d")
	f(`'a b' "c d"e`, "a b", "c de")
	f(`a'b'"c"d`, "abcd")
	f(`'' ""`, "", "")
	f(`'\n' "\n" \n`, `\n`, `\n`, "n")
	f(`"\"\\\$\x'" 'x"y'`, `"\$\x'`, `x"y`)
	f(`a\ b \'c`, "a b", "'c")
	f("a\\\nb \"c\\\nd\"", "ab", "cd")
	f(`$HOME * ~ # ; |`, "$HOME", "*", "~", "#", ";", "|")
	f("größe 'ä ö'", "größe", "ä ö")
	for _, bad := range []string{`'a`, `"a`, `a\`, `"a\"`} {
		if got, err := split(bad); err == nil {
			t.Errorf("%s is taken for %q", bad, got)
		}
	}
}

// FuzzSplit: a word in single quotes comes back as it was.
func FuzzSplit(f *testing.F) {
	f.Add("a b", `c"d\`)
	f.Add("", "'")
	f.Fuzz(func(t *testing.T, one, two string) {
		_, _ = split(one + " " + two)
		quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
		got, err := split(quote(one) + " " + quote(two))
		if diff := cmp.Diff([]string{one, two}, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
}

func TestOptions(t *testing.T) {
	f := func(options, option, message string) {
		t.Helper()
		if !strings.Contains(options, "command") {
			options += "\ncommand = \"true\""
		}
		errs := plugins.Check(Description(), []byte(options))
		if len(errs) != 1 || errs[0].Option != option || !strings.Contains(errs[0].Message, message) {
			t.Errorf("%s: %v", options, errs)
		}
	}
	f(`data_format = "json"`, "data_format", `only "influx"`)
	f(`data_format = ""`, "data_format", `only "influx"`)
	f(`json_query = "x"`, "json_query", "unknown option")
	f(`timeout = "0s"`, "timeout", "more than 0")
	f(`timeout = true`, "timeout", "expected a duration")
	f(`commands = "true"`, "commands", "expected a list")
	f(`commands = [["true"], []]`, "commands", "command 2: names no program")
	f(`commands = [[""]]`, "commands", "names no program")
	f(`commands = [["sleep", 5]]`, "commands", "5 must be in quotes")
	f(`commands = [5]`, "commands", "not 5")
	f(`commands = ["echo 'x"]`, "commands", "a quote is opened and not closed")
	f(`command = "echo 'x"`, "command", "a quote is opened and not closed")
	f(`command = " "`, "command", "names no program")
	f(`environment = ["A=1", "B"]`, "environment", `"B" is not of the form`)
	f(`commands = []`, "commands", "name the programs to run")
	if errs := plugins.Check(Description(), nil); len(errs) != 1 || errs[0].Option != "commands" {
		t.Error(errs)
	}
	for _, good := range []string{`commands = [["a", "b"], "c 'd e'"]`, `command = "a b"`, "commands = []\ncommand = \"a\"", "command = \"a\"\nenvironment = [\"A=\", \"B=c=d\"]"} {
		if errs := plugins.Check(Description(), []byte(good)); len(errs) > 0 {
			t.Errorf("%s: %v", good, errs)
		}
	}
}

// script writes a program and returns its path.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func shell(text string) string { return fmt.Sprintf("commands = [[\"sh\", \"-c\", '''%s''']]\n", text) }

// patiently is for a machine that takes longer than the default.
const patiently = "timeout = \"2m\"\n"

func TestGather(t *testing.T) {
	f := func(name, options, want, failure string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			got, err := plugintest.Configure(t, Description(), patiently+options).TryGather()
			if got != want {
				t.Errorf("lines %.300q (%d bytes), want %.300q (%d bytes)", got, len(got), want, len(want))
			}
			if (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
				t.Errorf("error %.300v, want %.300q", err, failure)
			}
		})
	}
	f("words, strings and the single command, in order",
		`commands = [["echo", "a x=1"], "echo 'b  x=2'"]`+"\n"+`command = "echo c x=3"`, "a x=1\nb  x=2\nc x=3\n", "")
	f("no newline at the end", shell(`printf "m s=\"a\nb\" 5"`), "m s=\"a\nb\" 5\n", "")
	f("lines end as in Windows", shell(`printf "m x=1\r\nn s=\"a b\"\r\n"`), "m x=1\nn s=\"a b\"\n", "")
	f("a line end of Windows within a string", shell(`printf "n s=\"a\r\nb\"\n"`), "n s=\"a\r\nb\"\n", "")
	f("no output", shell("true"), "", "")
	f("exit code", shell("echo m x=1; echo; echo one >&2; echo two >&2; exit 3"), "", "exit status 3: one")
	f("exit code ignored", "ignore_error = true\n"+shell("echo m x=1; exit 3"), "m x=1\n", "")
	f("killed", "ignore_error = true\n"+shell("echo m x=1; kill -9 $$"), "", "signal: killed")
	f("not there", `commands = [["/nowhere/at/all"]]`, "", "/nowhere/at/all: no such file")
	f("not there is never ignored", "ignore_error = true\n"+`commands = [["nowhere-at-all"]]`, "", "not found in $PATH")
	f("one of two fails", `commands = [["sh", "-c", "exit 1"], ["echo", "m x=1"]]`, "m x=1\n", `"sh -c exit 1": exit status 1`)
	f("complaint of one endless line", shell("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1"), "", strings.Repeat("x", 512))
	f("environment", "environment = [\"A=b=c\", \"PATH=/bin:/usr/bin\"]\n"+shell("echo \"m a=\\\"$A\\\"\""), "m a=\"b=c\"\n", "")
	f("standard input is empty", shell("cat; echo m x=1"), "m x=1\n", "")
	f("as much as fits", shell("head -c 4000000 /dev/zero | tr '\\0' '\\n'; echo m x=1"), strings.Repeat("\n", 4000000)+"m x=1\n", "")
	f("too much", shell("yes m x=1 | head -c 10000000"), "", "more than 4 MiB")
	f("too much in all", `commands = [["sh", "-c", "yes | head -c 3000000"], ["sh", "-c", "yes | head -c 3000000"]]`,
		strings.Repeat("y\n", 1500000), "more than 4 MiB")
}

func TestPatternsAreReadAtEveryGather(t *testing.T) {
	dir := t.TempDir()
	add := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	in := plugintest.Configure(t, Description(), patiently+fmt.Sprintf(`commands = [["%s/*.sh", "x y"]]`, dir))
	if _, err := in.TryGather(); err == nil || !strings.Contains(err.Error(), "*.sh: no such file") {
		t.Error(err)
	}
	add("b.sh", `echo "b v=\"$1\""`)
	add("a.sh", `echo "a v=\"$1\""`)
	add("c.txt", "echo c v=1")
	if got := in.Gather(); got != "a v=\"x y\"\nb v=\"x y\"\n" {
		t.Error(got)
	}
}

// All commands run at once: each waits for the other to have begun.
func TestCommandsRunAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	meet := script(t, "meet", fmt.Sprintf(`touch %[1]s/$1; while [ ! -e %[1]s/$2 ]; do sleep 0.01; done; echo m,n=$1 x=1`, dir))
	got := plugintest.Configure(t, Description(),
		patiently+fmt.Sprintf("commands = [[%[1]q, \"a\", \"b\"], [%[1]q, \"b\", \"a\"]]", meet)).Gather()
	if got != "m,n=a x=1\nm,n=b x=1\n" {
		t.Error(got)
	}
}

// gone waits for the end of the process whose number a program left in a file.
func gone(t *testing.T, file string) {
	t.Helper()
	eventually(t, "the end of "+file, func() bool {
		text, err := os.ReadFile(file)
		pid, bad := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || bad != nil {
			return false
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain waited for " + what)
		}
	}
}

func TestTimeoutEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := plugintest.Configure(t, Description(), "timeout = \"5s\"\nignore_error = true\n"+
		shell(fmt.Sprintf("sleep 600 & echo $! >%[1]s/child; echo $$ >%[1]s/leader; echo m x=1; wait", dir)))
	got, err := in.TryGather()
	if got != "" || err == nil || !strings.Contains(err.Error(), "not done within its timeout of 5s") {
		t.Errorf("%q %v", got, err)
	}
	gone(t, dir+"/child")
	gone(t, dir+"/leader")
}

func TestAProgramThatIgnoresSIGTERMIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := plugintest.Configure(t, Description(), "timeout = \"5s\"\n"+
		shell(fmt.Sprintf("trap '' TERM; (echo $$ >%[1]s/leader; sleep 600) & echo $! >%[1]s/child; while :; do sleep 600; done", dir)))
	if _, err := in.TryGather(); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Error(err)
	}
	gone(t, dir+"/child")
	gone(t, dir+"/leader")
}

// What holds the pipes open neither delays the reading until the timeout nor
// stays.
func TestAGrandchildThatHoldsThePipes(t *testing.T) {
	dir := t.TempDir()
	in := plugintest.Configure(t, Description(), "timeout = \"10m\"\n"+
		shell(fmt.Sprintf("sleep 600 & echo $! >%s/child; echo m x=1", dir)))
	if got := in.Gather(); got != "m x=1\n" {
		t.Error(got)
	}
	gone(t, dir+"/child")
}

func TestAGrandchildThatLetsGoOfThePipesMayStay(t *testing.T) {
	dir := t.TempDir()
	in := plugintest.Configure(t, Description(), patiently+shell(fmt.Sprintf("sleep 600 >/dev/null 2>&1 & echo $! >%s/child; echo m x=1", dir)))
	if got := in.Gather(); got != "m x=1\n" {
		t.Error(got)
	}
	text, err := os.ReadFile(dir + "/child")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// The host's end ends the program without waiting for its timeout.
func TestTheEndOfTheReadingEndsTheProgram(t *testing.T) {
	dir := t.TempDir()
	server := plugins.NewServer(slog.New(slog.DiscardHandler), Description())
	options := "timeout = \"10m\"\n" + shell(fmt.Sprintf("echo $$ >%s/leader; exec sleep 600", dir))
	reply, err := server.Configure(t.Context(), &proto.ConfigureRequest{Collector: "exec", ConfigToml: []byte(options)})
	if err != nil || len(reply.Errors) > 0 {
		t.Fatal(err, reply.Errors)
	}
	if got := time.Duration(reply.GatherTimeoutNs); got <= 10*time.Minute {
		t.Errorf("the host waits only %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := server.Gather(ctx, &proto.GatherRequest{})
		ended <- err
	}()
	eventually(t, "the program", func() bool {
		text, err := os.ReadFile(dir + "/leader")
		return err == nil && len(text) > 0
	})
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	gone(t, dir+"/leader")
}

func TestLogStderr(t *testing.T) {
	f := func(options string, want ...string) {
		t.Helper()
		var log strings.Builder
		handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 4, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.LevelKey || a.Key == slog.MessageKey {
				return a
			}
			return slog.Attr{}
		}})
		server := plugins.NewServer(slog.New(handler), Description())
		if _, err := server.Configure(t.Context(), &proto.ConfigureRequest{Collector: "exec", LogLevel: "trace", ConfigToml: []byte(patiently + options)}); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Gather(t.Context(), &proto.GatherRequest{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Join(want, "\n"), strings.TrimSpace(log.String())); diff != "" {
			t.Error(diff)
		}
	}
	say := shell(`for p in "E! e" "W! w" "I! i" "D! d" "T! t" "X! x" plain; do echo "$p" >&2; done`)
	f(say)
	f("log_stderr = true\n"+say, "level=ERROR msg=e", "level=WARN msg=w", "level=INFO msg=i", "level=DEBUG msg=d",
		"level=DEBUG-4 msg=t", `level=ERROR msg="stderr: \"X! x\""`, `level=ERROR msg="stderr: \"plain\""`)
}
