package trust

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// open is a file that everybody may write to.
func (p *place) open(name string) string {
	p.directory(filepath.Dir(name), 0o755)
	return p.file(name, script, 0o777)
}

func (p *place) script(line string) string {
	return p.file("vitals-plugin-a", line+"\nexit 0\n", 0o755)
}

func TestInterpretersThatCouldBeReplaced(t *testing.T) {
	f := func(name, reason string, mends bool, prepare func(p *place) string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			p := newPlace(t)
			p.directory("bin", 0o755)
			p.rules.Path = p.path("none") + ":" + p.path("bin") + ":/usr/bin:/bin"
			p.refused(prepare(p), reason, mends)
		})
	}
	f("of a script that is one", "its interpreter: DIR/good: its interpreter: DIR/evil is writable by everybody", true, func(p *place) string {
		p.file("good", "#!"+p.open("evil")+"\n", 0o755)
		return p.script("#!" + p.path("good"))
	})
	f("more than the kernel follows", "is the last of more than 5 scripts", false, func(p *place) string {
		before := p.file("i", "#!/bin/sh\n", 0o755)
		for range 5 {
			before = p.file(filepath.Base(before)+"i", "#!"+before+"\n", 0o755)
		}
		return p.script("#!" + before)
	})
	f("each other's", "is the last of more than 5 scripts", false, func(p *place) string {
		return p.script("#!" + p.path("vitals-plugin-a"))
	})
	f("no-break space", "bin/good\u00a0e is writable by everybody", true, func(p *place) string {
		p.file("bin/good", script, 0o755)
		return p.script("#!" + p.open("bin/good\u00a0e"))
	})
	f("vertical tab", "bin/good\ve is writable by everybody", true, func(p *place) string {
		p.file("bin/good", script, 0o755)
		return p.script("#!" + p.open("bin/good\ve"))
	})
	f("env with a string", `has env do more than find an interpreter ("-S PATH=/open evil")`, false, func(p *place) string {
		return p.script("#!/usr/bin/env -S PATH=/open evil")
	})
	f("env with a variable", "has env do more", false, func(p *place) string { return p.script("#!/usr/bin/env PATH=/open") })
	f("env and nothing", "names no interpreter after env", false, func(p *place) string { return p.script("#!/usr/bin/env ") })
	f("env and what is not there", "needs the interpreter ruby9, which is not in PATH", false, func(p *place) string {
		return p.script("#!/usr/bin/env ruby9")
	})
	f("env and what others may write to", "its interpreter: DIR/bin/python9 is writable by everybody", true, func(p *place) string {
		p.open("bin/python9")
		return p.script("#!/usr/bin/env python9")
	})
	f("env by way of where others may write", "env looks for its interpreter in DIR/open: DIR/open is writable by everybody", true, func(p *place) string {
		p.rules.Path = p.directory("open", 0o777) + ":" + p.rules.Path
		p.file("bin/python9", script, 0o755)
		return p.script("#!/usr/bin/env python9")
	})
	f("env of an interpreter", "its interpreter: DIR/good: its interpreter: DIR/bin/python9 is writable", true, func(p *place) string {
		p.open("bin/python9")
		p.file("good", "#!/usr/bin/env python9\n", 0o755)
		return p.script("#!" + p.path("good"))
	})
}

func TestInterpretersThatMayRun(t *testing.T) {
	f := func(line string) {
		t.Helper()
		p := newPlace(t)
		p.directory("bin", 0o755)
		p.rules.Path = p.path("none") + ":" + p.path("bin") + ":/usr/bin:/bin"
		p.file("bin/own", "#! /bin/sh -e\n. \"$1\"\n", 0o755)
		path := p.script(strings.ReplaceAll(line, "DIR", p.dir))
		p.accepted(path)
		cmd := exec.Command(path)
		cmd.Env = []string{"PATH=" + p.rules.Path}
		if out, err := cmd.CombinedOutput(); err != nil { // the kernel agrees
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	f("#!/bin/sh")
	f("#! \t/bin/sh\t -e \t")
	f("#!/usr/bin/env sh")
	f("#!/usr/bin/env \town ")
	f("#!DIR/bin/own")
}

func TestALoaderThatCouldBeReplaced(t *testing.T) {
	p := newPlace(t)
	p.open("ld.so")
	path := p.path("vitals-plugin-c")
	p.file("main.go", "package main\nimport \"C\"\nfunc main() {}\n", 0o644)
	cmd := exec.Command("go", "build", "-o", path, "-ldflags", "-linkmode external -extldflags -Wl,--dynamic-linker="+p.path("ld.so"), "main.go")
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "CGO_ENABLED=1", "GO111MODULE=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.refused(path, "its loader: DIR/ld.so is writable by everybody", true)
}
