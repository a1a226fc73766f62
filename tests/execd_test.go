package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// printer is a machine whose agent writes what it gathers to a file and adds
// nothing to it.
type printer struct {
	*machine
	agent *process
}

func newPrinter(t *testing.T, agentOptions, inputs string) *printer {
	t.Helper()
	p := &printer{machine: newMachine(t)}
	p.file("node.toml", fmt.Sprintf(`
[agent]
  interval = "%ds"
  flush_interval = "100ms"
  omit_hostname = true
  buffer_directory = "$DIR/agent"
%s
[[outputs.file]]
  files = ["$DIR/lines"]
`, every, agentOptions+inputs))
	return p
}

func (p *printer) startAgent() { p.agent = p.start("vitals-agent", "--config", p.path("node.toml")) }

// script writes a program in sh and returns its path.
func (m *machine) script(name, text string) string {
	m.t.Helper()
	path := m.file(name, "#!/bin/sh\n"+text+"\n")
	if err := os.Chmod(path, 0o755); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// holds waits until text is in the file of lines, or in the agent's log.
func (p *printer) holds(file string, texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		eventually(p.t, 20*time.Second, func() string {
			if !strings.Contains(p.read(file), text) {
				return fmt.Sprintf("%q is not in %s", text, file)
			}
			return ""
		})
	}
}

// pid waits for the number that a program leaves in a file.
func (p *printer) pid(file string) (pid int) {
	p.t.Helper()
	eventually(p.t, 20*time.Second, func() string {
		var err error
		if pid, err = strconv.Atoi(strings.TrimSpace(p.read(file))); err != nil {
			return err.Error()
		}
		return ""
	})
	return pid
}

func (p *printer) gone(files ...string) {
	p.t.Helper()
	for _, file := range files {
		pid := p.pid(file)
		eventually(p.t, 5*time.Second, func() string {
			if syscall.Kill(pid, 0) == nil && !zombie(pid) {
				return fmt.Sprintf("%s is still alive as process %d", file, pid)
			}
			return ""
		})
	}
}

// goProgram builds a program of ours for a test.
func goProgram(t *testing.T, dir, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	build := exec.Command("go", "build", "-o", path, pkg)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// Programs in three languages, told in each way that there is, are heard to
// the byte, and once for each time that they are told.
func TestCountersInEveryLanguageAndSignal(t *testing.T) {
	t.Parallel()
	here := filepath.Join(root, "tests", "counter")
	programs := map[string]string{
		"sh": filepath.Join(here, "counter.sh"), "python": filepath.Join(here, "counter.py"), "go": goProgram(t, root, "./tests/counter"),
	}
	signals := []string{"none", "STDIN", "SIGHUP", "SIGUSR1", "SIGUSR2"}
	var inputs strings.Builder
	for language, program := range programs {
		for _, signal := range signals {
			fmt.Fprintf(&inputs, "[[inputs.execd]]\ncommand = [%q, %q, \"$DIR/%s-%[2]s\"]\nsignal = %[2]q\n", program, signal, language)
		}
	}
	p := newPrinter(t, "", inputs.String())
	began := time.Now()
	p.startAgent()
	for language := range programs {
		for _, signal := range signals {
			p.holds("lines", fmt.Sprintf("counter,by=%s,signal=%s n=5i,", language, signal))
		}
	}
	for language := range programs {
		for _, signal := range signals {
			printed := strings.Count(p.read(language+"-"+signal), "counter,")
			p.holds("lines", fmt.Sprintf("counter,by=%s,signal=%s n=%di,", language, signal, printed))
		}
	}
	p.agent.stop()
	lasted := int(time.Since(began).Seconds()) + 1

	// A line of this test is two rows. Those of sh have no time; theirs is cut
	// off to compare.
	line := regexp.MustCompile(`counter,by=(\w+),signal=(\w+) [^\n]*\n[^\n]*" ?(\d*)\n`)
	said := map[string]string{}
	for _, m := range line.FindAllStringSubmatch(p.read("lines"), -1) {
		whole, by := m[0], m[1]
		nano, err := strconv.ParseInt(m[3], 10, 64)
		if at := time.Unix(0, nano); err != nil || at.Before(began) || at.After(time.Now()) {
			t.Errorf("the time of %q is %v, %v", whole, at, err)
		}
		if by == "sh" {
			whole = strings.TrimSuffix(whole, " "+m[3]+"\n") + "\n"
		}
		said[by+"-"+m[2]] += whole
	}
	// What a program prints once it has been told to end is not asked for; one
	// that is not told anything prints until it is ended.
	for language := range programs {
		for _, signal := range signals {
			name := language + "-" + signal
			printed, count := p.read(name), strings.Count(said[name], "\n")/2
			more := strings.Count(printed, "\n")/2 - count
			if !strings.HasPrefix(printed, said[name]) || more > 1 && signal != "none" {
				t.Errorf("%s has printed\n%s\nand arrived is\n%s", name, printed, said[name])
			}
			if signal != "none" && count > lasted {
				t.Errorf("%s was told %d times in %d s", name, count, lasted)
			}
		}
	}
}

// Programs made with Telegraf's own shim run as they are.
func TestShimPrograms(t *testing.T) {
	t.Parallel()
	module := filepath.Join(root, "tests", "telegraf")
	polled, served := goProgram(t, module, "./polled"), goProgram(t, module, "./served")
	const text = "one\ntwo \"three\" \\ four,\tgröße = 日本 "
	p := newPrinter(t, "", fmt.Sprintf(`
[[inputs.execd]]
  command = [%[1]q, "-config", "$DIR/asked.conf", "-poll_interval_disabled"]
  signal = "STDIN"
  [inputs.execd.tags]
    program = "asked"
[[inputs.execd]]
  command = [%[1]q, "-config", "$DIR/polls.conf", "-poll_interval", "300ms"]
  signal = "none"
  [inputs.execd.tags]
    program = "polls"
[[inputs.execd]]
  command = [%[2]q]
`, polled, served))
	for _, name := range []string{"asked", "polls"} {
		p.file(name+".conf", fmt.Sprintf("[[inputs.polled]]\n  text = %s\n", strconv.Quote(text)))
	}
	began := time.Now()
	p.startAgent()
	eventually(t, 30*time.Second, func() string {
		count := map[string]int{}
		for _, pt := range points(t, p.read("lines"), "polled") {
			count[pt.tags["program"]]++
		}
		count["served"] = len(points(t, p.read("lines"), "served"))
		if count["asked"] < 5 || count["polls"] < 5 || count["served"] < 20 {
			return fmt.Sprint(count)
		}
		return ""
	})
	p.agent.stop()
	lasted := int64(time.Since(began).Seconds()) + 1
	lines := p.read("lines")

	count := map[string]int64{}
	for _, pt := range points(t, lines, "polled") {
		name := pt.tags["program"]
		count[name]++
		n := count[name]
		want := map[string]any{"count": n, "text": text, "ratio": float64(n) / 4, "odd": n%2 == 1, "unsigned": n}
		if fmt.Sprint(pt.fields) != fmt.Sprint(want) || pt.tags["kind"] != "asked, not pushed" || pt.tags["größe"] != "a=b" || len(pt.tags) != 3 {
			t.Errorf("line %d of %s is %v %v", n, name, pt.tags, pt.fields)
		}
		if pt.time.Before(began) || pt.time.After(time.Now()) {
			t.Errorf("line %d of %s is of %v", n, name, pt.time)
		}
	}
	if count["asked"] > lasted {
		t.Errorf("asked %d times in %d s", count["asked"], lasted)
	}
	for i, pt := range points(t, lines, "served") {
		n := i + 1
		if pt.fields["n"] != int64(n) || pt.fields["said"] != fmt.Sprintf("line\n%d", n) || pt.time.Unix() != 1767225600+int64(n) {
			t.Errorf("line %d of served is %v at %v", n, pt.fields, pt.time)
		}
	}
	log := p.read("vitals-agent.log")
	// The shim has its own words, without a prefix, for an error.
	if !strings.Contains(log, `level=ERROR`) || strings.Count(log, "asked for the third time") != 2 {
		t.Errorf("errors of the shim are not in the log once each:\n%s", log)
	}
}

func TestStandardErrorLandsAtItsLevel(t *testing.T) {
	t.Parallel()
	f := func(agent, input, heard string) {
		t.Helper()
		p := newPrinter(t, agent, "[[inputs.execd]]\ncommand = [\"$DIR/execd\"]\n"+input+
			"\n[[inputs.exec]]\ncommands = [[\"$DIR/exec\"]]\nlog_stderr = true\n"+input+"\n")
		for _, name := range []string{"execd", "exec"} {
			p.script(name, `for l in T D I W E; do echo "$l! `+name+` says $l" >&2; done; echo "`+name+` has no prefix" >&2; echo done v=1; [ `+name+` = exec ] || read -r _`)
		}
		p.startAgent()
		p.holds("vitals-agent.log", `level=ERROR msg="stderr: \"execd has no prefix\""`, `level=ERROR msg="stderr: \"exec has no prefix\""`)
		p.agent.stop()
		log := p.read("vitals-agent.log")
		for _, name := range []string{"execd", "exec"} {
			for l, level := range map[string]string{"E": "ERROR", "W": "WARN", "I": "INFO", "D": "DEBUG", "T": "DEBUG-4"} {
				want := fmt.Sprintf("level=%s msg=\"%s says %s\"", level, name, l)
				if strings.Contains(log, want) != strings.Contains(heard, l) || strings.Contains(log, name+" says "+l) != strings.Contains(heard, l) {
					t.Errorf("%s %s: wrong about %s in\n%s", agent, input, want, log)
				}
			}
		}
	}
	f("", "", "EWI")
	f("debug = true\n", "", "EWID")
	f("quiet = true\n", "", "E")
	f("", `log_level = "trace"`, "EWIDT")
	f("debug = true\n", `log_level = "warn"`, "EW")
}

// Nothing of a program, nor what it has started, is left when the agent stops
// or is killed.
func TestNoProgramOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			p := newPrinter(t, "", "[[inputs.execd]]\ncommand = [\"$DIR/execd\"]\n[[inputs.exec]]\ncommands = [[\"$DIR/exec\"]]\ntimeout = \"10m\"\n")
			for _, name := range []string{"execd", "exec"} {
				p.script(name, "trap '' TERM HUP; echo $$ >$DIR/"+name+".pid; sleep 600 & echo $! >$DIR/"+name+".child; wait; sleep 600")
			}
			p.startAgent()
			for _, file := range []string{"execd.pid", "exec.pid", "execd.child", "exec.child"} {
				p.pid(file)
			}
			if how == "stopped" {
				p.agent.stop()
			} else {
				p.agent.kill()
			}
			p.gone("execd.pid", "exec.pid", "execd.child", "exec.child")
		})
	}
}

func TestRestartDelayAndStopOnError(t *testing.T) {
	t.Parallel()
	p := newPrinter(t, "", `
[[inputs.execd]]
  command = ["$DIR/again"]
  restart_delay = "1s"
[[inputs.execd]]
  command = ["$DIR/once"]
  restart_delay = "100ms"
  stop_on_error = true
`)
	const run = `echo x >>$DIR/NAME.runs; echo "NAME run=$(wc -l <$DIR/NAME.runs)i $(date +%s%N)"`
	p.script("again", strings.ReplaceAll(run, "NAME", "again"))
	p.script("once", strings.ReplaceAll(run, "NAME", "once")+`; [ $(wc -l <$DIR/once.runs) -lt 3 ] || exit 7`)
	p.startAgent()
	p.holds("lines", "again run=4i ", "once run=3i ")
	p.holds("vitals-agent.log", "exit status 7; it stays so, as stop_on_error says")
	p.agent.stop()
	runs := points(t, p.read("lines"), "again")
	for i := 1; i < len(runs); i++ {
		if gap := runs[i].time.Sub(runs[i-1].time); gap < time.Second {
			t.Errorf("run %d came %v after the one before", i+1, gap)
		}
	}
	if n := len(points(t, p.read("lines"), "once")); n != 3 {
		t.Errorf("after an error there were %d runs, not 3", n)
	}
}

// Programs that misbehave cost the others not one tick, and the agent's memory
// stays what it is.
func TestMisbehavingProgramsCostOnlyThemselves(t *testing.T) {
	t.Parallel()
	var inputs strings.Builder
	inputs.WriteString("[[inputs.cpu]]\n[[inputs.execd]]\ncommand = [\"$DIR/good\"]\nsignal = \"STDIN\"\n" +
		"[[inputs.exec]]\ncommands = [[\"echo\", \"steady v=1i\"]]\n")
	scripts := map[string]string{
		"good":    `n=0; while read -r _; do n=$((n+1)); echo "good n=${n}i"; done`,
		"silent":  `exec sleep 600`,
		"deaf":    `exec <&-; exec sleep 600`,
		"garbage": `while head -c 10000 /dev/urandom | tr -d =; do sleep 0.2; done`, // without = there is no line in it
		"endless": `head -c 10000000 /dev/zero | tr '\0' x; echo; echo after v=1i 1; exec sleep 600`,
		"openend": `printf 'broken s="never closed\n'; head -c 200000 /dev/zero | tr '\0' '\n'; echo closed v=1i 1; exec sleep 600`,
		"brief":   `exit 3`,
		"chatter": `while :; do echo "E! chatter" >&2; done`,
	}
	for name := range scripts {
		if name != "good" {
			fmt.Fprintf(&inputs, "[[inputs.execd]]\nalias = %q\ncommand = [\"$DIR/%[1]s\"]\nsignal = \"STDIN\"\nrestart_delay = \"0s\"\n", name)
		}
	}
	p := newPrinter(t, "", inputs.String())
	for name, text := range scripts {
		p.script(name, text)
	}
	p.startAgent()
	p.holds("lines", "good n=12i", "after v=1i 1\n", "closed v=1i 1\n")
	p.holds("vitals-agent.log", "longer than buffer_size", "the program says too much", "exit status 3; it is started again 100ms later", "does not read its standard input")
	memory := residentMiB(t, p.agent.cmd.Process.Pid)
	p.agent.stop()
	lines := p.read("lines")
	for measurement, field := range map[string]string{"steady": "v", "cpu": "usage_idle"} {
		at := map[int64]int{}
		for _, pt := range points(t, lines, measurement) {
			if pt.tags["cpu"] == "" || pt.tags["cpu"] == "cpu-total" {
				at[pt.time.Unix()]++
			}
			if pt.fields[field] == nil {
				t.Errorf("%s has fields %v", measurement, pt.fields)
			}
		}
		if n := requireEveryTick(t, measurement, at, nil); n < 10 {
			t.Errorf("%s has %d points", measurement, n)
		}
	}
	for i, pt := range points(t, lines, "good") {
		if pt.fields["n"] != int64(i+1) {
			t.Errorf("line %d of the good program is %v", i+1, pt.fields)
		}
	}
	if memory > 60 {
		t.Errorf("the agent has grown to %d MiB", memory)
	}
	if n := len(p.read("vitals-agent.log")); n > 1<<20 {
		t.Errorf("the log has %d bytes", n)
	}
}

// residentMiB is of a process and everything that it has started of ours.
func residentMiB(t *testing.T, pid int) (mebibytes int) {
	t.Helper()
	out, err := exec.Command("ps", "-o", "rss=,args=", "-p", itoa(pid), "--ppid", itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		kilobytes, err := strconv.Atoi(strings.Fields(line)[0])
		if err != nil {
			t.Fatal(err)
		}
		mebibytes = max(mebibytes, kilobytes/1024)
	}
	return mebibytes
}

func TestExecOptions(t *testing.T) {
	t.Parallel()
	p := newPrinter(t, "", `
[[inputs.exec]]
  commands = [["$DIR/d/*.sh", "two words", "a\"b"], "'$DIR/d/c sh' \"x  y\" 'z'"]
  environment = ["COLOUR=red blue", "EMPTY="]
[[inputs.exec]]
  command = "$DIR/hangs"
  timeout = "500ms"
  ignore_error = true
[[inputs.exec]]
  commands = [["$DIR/fails"]]
[[inputs.exec]]
  commands = [["$DIR/partly"]]
  ignore_error = true
`)
	const arguments = `echo "args,name=NAME n=$#i,one=\"$1\",two=\"$(printf %s "$2" | sed 's/"/\\"/')\",colour=\"$COLOUR\",empty=\"${EMPTY-unset}\",home=\"$HOME\""`
	for _, name := range []string{"a.sh", "b.sh", "c sh"} {
		p.script("d/"+name, strings.ReplaceAll(arguments, "NAME", strings.ReplaceAll(name, " ", "_")))
	}
	p.script("hangs", "echo $$ >$DIR/hangs.pid; sleep 600 & echo $! >$DIR/hangs.child; echo hangs v=1i; wait")
	p.script("fails", "echo fails v=1i; echo 'no such sensor' >&2; exit 4")
	p.script("partly", "echo partly v=1i; echo not a line; printf 'partly,last=yes v=2i'; exit 4")
	p.startAgent()
	p.holds("lines", "partly v=1i ", "partly,last=yes v=2i ", "args,name=a.sh", "args,name=b.sh", "args,name=c_sh")
	p.holds("vitals-agent.log", "not done within its timeout of 500ms", "exit status 4: no such sensor")
	p.pid("hangs.pid") // a program that is slow to begin is ended before it has written them
	p.pid("hangs.child")
	p.agent.stop()
	p.gone("hangs.pid", "hangs.child")
	lines := p.read("lines")
	for _, pt := range points(t, lines, "args") {
		want := map[string]any{"n": int64(2), "one": "two words", "two": `a"b`, "colour": "red blue", "empty": "", "home": os.Getenv("HOME")}
		if pt.tags["name"] == "c_sh" {
			want["one"], want["two"] = "x  y", "z"
		}
		if fmt.Sprint(pt.fields) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", pt.tags["name"], pt.fields, want)
		}
	}
	for _, not := range []string{"hangs v=", "fails v=", "not a line"} {
		if strings.Contains(lines, not) {
			t.Errorf("%q has arrived", not)
		}
	}
}

// Programs may use sudo: nothing keeps them from becoming another user.
func TestProgramsMayGainPrivileges(t *testing.T) {
	t.Parallel()
	p := newPrinter(t, "", "[[inputs.execd]]\ncommand = [\"$DIR/show\", \"execd\"]\n[[inputs.exec]]\ncommands = [[\"$DIR/show\", \"exec\"]]\n")
	p.script("show", `echo "$1 $(sed -n 's/^NoNewPrivs:[^0-9]*/none=/p' /proc/self/status)i"; [ "$1" = exec ] || read -r _`)
	p.startAgent()
	p.holds("lines", "execd none=0i", "exec none=0i")
	p.agent.stop()
}
