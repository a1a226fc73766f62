package trust

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// stranger is a user that nothing is trusted of.
const stranger = 12345

const script = "#!/bin/sh\nexit 0\n"

// TestMain lets the test binary be an agent that is not root.
func TestMain(m *testing.M) {
	if path := os.Getenv("VERIFY"); path != "" {
		f, err := Rules{Owner: -1}.Verify(path)
		if err != nil {
			os.Stdout.WriteString(err.Error())
			os.Exit(1)
		}
		os.Stdout.WriteString(f.SHA256)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// place is a directory such as the plugin directory, and what is done to it.
type place struct {
	t     *testing.T
	dir   string
	rules Rules
}

// newPlace makes one of root's. Only root can make files that are another's.
func newPlace(t *testing.T) *place {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("files of several users are needed; run the tests as root")
	}
	dir, err := os.MkdirTemp("", "vitals")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &place{t: t, dir: dir, rules: Rules{Owner: -1, Directories: []string{dir}, LockFile: filepath.Join(dir, "plugins.lock")}}
	p.chmod("", 0o755)
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// file writes a file that is root's and returns its path.
func (p *place) file(name, content string, mode os.FileMode) string {
	p.t.Helper()
	p.must(os.WriteFile(p.path(name), []byte(content), 0o600))
	p.chmod(name, mode)
	return p.path(name)
}

func (p *place) directory(name string, mode os.FileMode) string {
	p.t.Helper()
	p.must(os.MkdirAll(p.path(name), 0o755))
	p.chmod(name, mode)
	return p.path(name)
}

func (p *place) chmod(name string, mode os.FileMode) {
	p.t.Helper()
	p.must(os.Chmod(p.path(name), mode))
}

func (p *place) chown(name string, uid int) {
	p.t.Helper()
	p.must(os.Lchown(p.path(name), uid, uid))
}

func (p *place) link(target, name string) string {
	p.t.Helper()
	p.must(os.Symlink(target, p.path(name)))
	return p.path(name)
}

// accepted requires that the file may be run.
func (p *place) accepted(path string) *File {
	p.t.Helper()
	f, err := p.rules.Verify(path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { f.Close() })
	return f
}

// refused requires a refusal that says reason, whose remedy, if one is wanted,
// mends it when it is run as it stands.
func (p *place) refused(path, reason string, mends bool) {
	p.t.Helper()
	_, err := p.rules.Verify(path)
	refusal, ok := errors.AsType[*Refusal](err)
	text := strings.ReplaceAll(strings.ReplaceAll(errorText(err), p.dir, "DIR"), filepath.Dir(p.dir), "TMP")
	if !ok || !strings.Contains(text, reason) {
		p.t.Fatalf("got: %v\nshould say: %s", text, reason)
	}
	if refusal.Remedy == "" || !mends {
		if mends || refusal.Remedy != "" {
			p.t.Errorf("remedy: %q", refusal.Remedy)
		}
		return
	}
	if !strings.HasSuffix(err.Error(), "; run: "+refusal.Remedy) {
		p.t.Errorf("the command is not at the end: %v", err)
	}
	if out, err := exec.Command("sh", "-c", refusal.Remedy).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", refusal.Remedy, err, out)
	}
	if _, err := p.rules.Verify(path); err != nil {
		p.t.Errorf("after %q: %v", refusal.Remedy, err)
	}
}

func errorText(err error) string {
	if err == nil {
		return "accepted"
	}
	return err.Error()
}

func TestAFileOfRootMayBeRun(t *testing.T) {
	p := newPlace(t)
	f := p.accepted(p.file("vitals-plugin-a", script, 0o755))
	want := sha256.Sum256([]byte(script))
	stamp, err := StampOf(f.Path)
	if !f.Script || f.SHA256 != hex.EncodeToString(want[:]) || err != nil || f.Stamp != stamp || f.Path != p.path("vitals-plugin-a") {
		t.Errorf("%+v, now %+v, %v", f, stamp, err)
	}
	self := p.accepted(p.program(nil))
	if self.Script || len(self.SHA256) != 64 {
		t.Errorf("%+v", self)
	}
	flags, err := unix.FcntlInt(self.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the file is passed on to other programs: %v", err)
	}
}

func TestFilesThatMayNotBeRun(t *testing.T) {
	f := func(name, reason string, mends bool, prepare func(p *place) string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.refused(prepare(p), reason, mends)
		})
	}
	good := func(p *place) string { return p.file("vitals-plugin-a", script, 0o755) }
	with := func(mode os.FileMode) func(p *place) string {
		return func(p *place) string { return p.file("vitals-plugin-a", script, mode) }
	}
	f("another user's", "DIR/vitals-plugin-a belongs to uid 12345, not to root; run: chown root:root DIR/vitals-plugin-a", true, func(p *place) string {
		path := good(p)
		p.chown("vitals-plugin-a", stranger)
		return path
	})
	f("another user's with a name", "belongs to nobody (uid 65534), not to root", true, func(p *place) string {
		path := good(p)
		p.chown("vitals-plugin-a", 65534)
		return path
	})
	f("writable by the group", "DIR/vitals-plugin-a is writable by its group (mode 0775); run: chmod go-w DIR/vitals-plugin-a", true, with(0o775))
	f("writable by everybody", "is writable by everybody (mode 0777)", true, with(0o777))
	f("writable by others only", "is writable by everybody (mode 0757)", true, with(0o757))
	f("set-user-ID", "has the set-user-ID or set-group-ID bit (mode 4755)", true, with(0o755|os.ModeSetuid))
	f("set-group-ID", "has the set-user-ID or set-group-ID bit (mode 2755)", true, with(0o755|os.ModeSetgid))
	f("not executable", "is not executable (mode 0644); run: chmod +x DIR/vitals-plugin-a", true, with(0o644))
	f("a name for the shell", "run: chmod +x 'DIR/vitals-plugin-a; it'\\''s'", true, func(p *place) string {
		return p.file("vitals-plugin-a; it's", script, 0o644)
	})
	f("a link", "DIR/vitals-plugin-a is a symbolic link to DIR/elsewhere", true, func(p *place) string {
		p.file("elsewhere", script, 0o755)
		return p.link("elsewhere", "vitals-plugin-a")
	})
	f("a directory", "is not a regular file but a directory", false, func(p *place) string { return p.directory("vitals-plugin-a", 0o755) })
	f("a pipe", "is not a regular file but a pipe", false, func(p *place) string {
		p.must(syscall.Mkfifo(p.path("vitals-plugin-a"), 0o755))
		return p.path("vitals-plugin-a")
	})
	f("a socket", "is not a regular file", false, func(p *place) string {
		l, err := net.Listen("unix", p.path("vitals-plugin-a"))
		p.must(err)
		p.t.Cleanup(func() { l.Close() })
		return p.path("vitals-plugin-a")
	})
	f("empty", "is empty (half copied?)", false, func(p *place) string { return p.file("vitals-plugin-a", "", 0o755) })
	f("text", "is neither a program nor a script that begins with #! (half copied?)", false, func(p *place) string {
		return p.file("vitals-plugin-a", "import sys\n", 0o755)
	})
	f("no interpreter named", "names no interpreter after #!", false, func(p *place) string { return p.file("vitals-plugin-a", "#! \n", 0o755) })
	f("no such interpreter", "needs the interpreter /usr/bin/python9, which is not there", false, func(p *place) string {
		return p.file("vitals-plugin-a", "#! /usr/bin/python9 -u\n", 0o755)
	})
	f("interpreter that is none", "needs the interpreter /etc/passwd, which is no program", false, func(p *place) string {
		return p.file("vitals-plugin-a", "#!/etc/passwd\n", 0o755)
	})
	f("interpreter without its path", "names an interpreter without its whole path, sh", false, func(p *place) string {
		return p.file("vitals-plugin-a", "#!sh\n", 0o755)
	})
	f("line ends of Windows", "has line ends of Windows", true, func(p *place) string {
		return p.file("vitals-plugin-a", "#!/bin/sh\r\nexit 0\r\n", 0o755)
	})
	f("interpreter of another user", "its interpreter: DIR/sh belongs to uid 12345", true, func(p *place) string {
		p.file("sh", script, 0o755)
		p.chown("sh", stranger)
		return p.file("vitals-plugin-a", "#!"+p.path("sh")+"\n", 0o755)
	})
	f("interpreter where anybody can put it", "its interpreter: DIR/bin is writable by everybody", true, func(p *place) string {
		p.directory("bin", 0o777)
		p.file("bin/sh", script, 0o755)
		p.link("bin/sh", "sh")
		return p.file("vitals-plugin-a", "#!"+p.path("sh")+"\n", 0o755)
	})
}

func TestDirectoriesInWhichOthersMayWrite(t *testing.T) {
	f := func(name, reason string, mends bool, prepare func(p *place) string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.directory("opt/plugins", 0o755)
			p.file("opt/plugins/vitals-plugin-a", script, 0o755)
			path := prepare(p)
			if reason == "" {
				p.accepted(path)
			} else {
				p.refused(path, reason, mends)
			}
		})
	}
	const plugin = "opt/plugins/vitals-plugin-a"
	f("sound", "", false, func(p *place) string { return p.path(plugin) })
	f("the plugin directory, group", "DIR/opt/plugins is writable by its group (mode 0775); run: chmod go-w DIR/opt/plugins", true, func(p *place) string {
		p.chmod("opt/plugins", 0o775)
		return p.path(plugin)
	})
	f("the plugin directory, everybody", "DIR/opt/plugins is writable by everybody (mode 0777)", true, func(p *place) string {
		p.chmod("opt/plugins", 0o777)
		return p.path(plugin)
	})
	f("the plugin directory as /tmp is", "DIR/opt/plugins is writable by everybody (mode 1777)", true, func(p *place) string {
		p.chmod("opt/plugins", 0o777|os.ModeSticky)
		return p.path(plugin)
	})
	f("the plugin directory, another's", "DIR/opt/plugins belongs to uid 12345, not to root; run: chown root:root DIR/opt/plugins", true, func(p *place) string {
		p.chown("opt/plugins", stranger)
		return p.path(plugin)
	})
	f("a parent, everybody", "DIR/opt is writable by everybody (mode 0777); run: chmod go-w DIR/opt", true, func(p *place) string {
		p.chmod("opt", 0o777)
		return p.path(plugin)
	})
	f("a parent, another's", "DIR/opt belongs to uid 12345", true, func(p *place) string {
		p.chown("opt", stranger)
		return p.path(plugin)
	})
	f("a parent as /tmp is", "", false, func(p *place) string {
		p.chmod("opt", 0o777|os.ModeSticky)
		return p.path(plugin)
	})
	f("a parent as /tmp is, but another's", "DIR/opt belongs to uid 12345", true, func(p *place) string {
		p.chmod("opt", 0o777|os.ModeSticky)
		p.chown("opt", stranger)
		return p.path(plugin)
	})
	f("through links", "", false, func(p *place) string {
		p.link("opt", "a")
		p.link("../a/./plugins", "opt/b")
		return p.path("opt/b/vitals-plugin-a")
	})
	f("the place of a link", "DIR/loose is writable by everybody", true, func(p *place) string {
		p.directory("loose", 0o777)
		p.link(p.path("opt/plugins"), "loose/plugins")
		return p.path("loose/plugins/vitals-plugin-a")
	})
	f("the target of a link", "DIR/opt is writable by everybody", true, func(p *place) string {
		p.chmod("opt", 0o777)
		p.link("opt/plugins", "plugins")
		return p.path("plugins/vitals-plugin-a")
	})
	f("a link that another has put into such as /tmp", "DIR/loose/plugins belongs to uid 12345, not to root; run: chown -h root:root DIR/loose/plugins", true, func(p *place) string {
		p.directory("loose", 0o777|os.ModeSticky)
		p.link(p.path("opt/plugins"), "loose/plugins")
		p.chown("loose/plugins", stranger)
		return p.path("loose/plugins/vitals-plugin-a")
	})
}

func TestTheOwnerIsTrustedBesideRoot(t *testing.T) {
	p := newPlace(t)
	path := p.file("vitals-plugin-a", script, 0o755)
	p.chown("vitals-plugin-a", stranger)
	p.chown("", stranger)
	p.rules.Owner = stranger
	p.accepted(path)
	p.chown("vitals-plugin-a", 54321)
	p.refused(path, "belongs to uid 54321, not to root or 12345", true)
	if _, err := (Rules{Owner: -1}).Verify(path); err == nil {
		t.Error("trusted without an owner")
	}
}

// What the agent itself could write is not to be run, unless its owner says so.
func TestAnAgentThatIsNotRoot(t *testing.T) {
	p := newPlace(t)
	path := p.file("vitals-plugin-a", script, 0o755)
	verify := func(want string) {
		t.Helper()
		cmd := exec.Command("/proc/self/exe")
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), "VERIFY="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
		out, err := cmd.CombinedOutput()
		got := strings.ReplaceAll(string(out), p.dir, "DIR")
		if want == "" && err != nil || want != "" && (err == nil || got != want) {
			t.Errorf("got:  %s, %v\nwant: %s", got, err, want)
		}
	}
	verify("")
	p.chown("vitals-plugin-a", stranger)
	verify("DIR/vitals-plugin-a belongs to uid 12345, as whom the agent runs, so that whatever goes wrong in the agent could replace it; " +
		`give it to root, or set plugin_owner = "12345" in [agent]; run: chown root:root DIR/vitals-plugin-a`)
	p.chown("vitals-plugin-a", 0)
	p.chmod("vitals-plugin-a", 0o711)
	verify("DIR/vitals-plugin-a cannot be read by the agent, which runs as uid 12345; run: chmod a+rX DIR/vitals-plugin-a")
	p.chmod("vitals-plugin-a", 0o750)
	verify("DIR/vitals-plugin-a cannot be read by the agent, which runs as uid 12345; run: chmod a+rX DIR/vitals-plugin-a")
	if out, err := exec.Command("chmod", "a+rX", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	verify("")
	p.chmod("vitals-plugin-a", 0o754)
	verify("DIR/vitals-plugin-a may not be read and executed by uid 12345, as whom it is run (mode 0754); run: chmod a+rx DIR/vitals-plugin-a")
}

func TestAFileUnderWay(t *testing.T) {
	p := newPlace(t)
	path := p.file("vitals-plugin-a", script, 0o755)
	f, info, err := p.rules.open(path)
	p.must(err)
	defer f.Close()
	file := &File{File: f, Path: path, Stamp: stamp(info)}
	p.file("vitals-plugin-a", script+"echo\n", 0o755)
	if err := p.rules.verify(file, info); err == nil || !strings.Contains(err.Error(), "is being written to; write to another name and rename it") {
		t.Error(err)
	}
}

func TestAFileThatIsNotThere(t *testing.T) {
	p := newPlace(t)
	for _, path := range []string{p.path("vitals-plugin-a"), p.path("no/vitals-plugin-a")} {
		_, err := p.rules.Verify(path)
		if _, refused := errors.AsType[*Refusal](err); refused || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// program writes this test's own program, changed, as a drop-in.
func (p *place) program(change func(b []byte) []byte) string {
	p.t.Helper()
	b, err := os.ReadFile("/proc/self/exe")
	p.must(err)
	if change != nil {
		b = change(b)
	}
	return p.file("vitals-plugin-program", string(b), 0o755)
}

func TestProgramsThatTheKernelWouldNotRun(t *testing.T) {
	f := func(name, reason string, change func(b []byte) []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			p := newPlace(t)
			p.refused(p.program(change), reason, false)
		})
	}
	of := func(m elf.Machine) func(b []byte) []byte {
		return func(b []byte) []byte {
			binary.LittleEndian.PutUint16(b[18:], uint16(m))
			return b
		}
	}
	other, here := elf.EM_AARCH64, words(machine()[0])
	if here == "64-bit ARM" {
		other = elf.EM_X86_64
	}
	f("another machine's", "is built for "+words(other)+", this machine is "+here, of(other))
	f("a rarer machine's", "is built for MIPS, this machine is "+here, of(elf.EM_MIPS))
	f("an object file", "is no program but ET_REL", func(b []byte) []byte {
		binary.LittleEndian.PutUint16(b[16:], uint16(elf.ET_REL))
		return b
	})
	const half = "is a program of which a part is missing (half copied?)"
	for _, at := range []float64{0.00001, 0.01, 0.5, 0.9, 0.999} {
		f("cut short", half, func(b []byte) []byte { return b[:int(float64(len(b))*at)] })
	}
	f("short of one byte", half, func(b []byte) []byte { return b[:len(b)-1] })
	f("its head only", half, func(b []byte) []byte { return b[:64] })
}

func TestWhatAMachineRuns(t *testing.T) {
	f := func(name string, m elf.Machine, want bool) {
		t.Helper()
		if got := runs(machines(name), m); got != want {
			t.Errorf("%s on %s: %v", m, name, got)
		}
	}
	f("x86_64", elf.EM_X86_64, true)
	f("x86_64", elf.EM_386, true)
	f("x86_64", elf.EM_AARCH64, false)
	f("i686", elf.EM_386, true)
	f("i686", elf.EM_X86_64, false)
	f("aarch64", elf.EM_AARCH64, true)
	f("aarch64", elf.EM_ARM, true)
	f("aarch64", elf.EM_X86_64, false)
	f("armv6l", elf.EM_ARM, true)
	f("armv7l", elf.EM_AARCH64, false)
	f("armv8l", elf.EM_ARM, true)
	f("riscv64", elf.EM_RISCV, true)
	f("s390x", elf.EM_S390, true)
}

// A program linked for musl says "no such file" when it is run where there is
// none.
func TestProgramWithoutItsLoader(t *testing.T) {
	p := newPlace(t)
	path := p.path("vitals-plugin-c")
	p.file("main.go", "package main\nimport \"C\"\nfunc main() {}\n", 0o644)
	cmd := exec.Command("go", "build", "-o", path, "-ldflags", "-linkmode external -extldflags -Wl,--dynamic-linker=/lib/ld-musl-none.so.1", "main.go")
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "CGO_ENABLED=1", "GO111MODULE=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.refused(path, "needs the loader /lib/ld-musl-none.so.1, which this machine does not have", false)
}

// What runs as somebody else must be that user's to run: the kernel would refuse
// it at every start.
func TestFilesThatTheUserMayNotRun(t *testing.T) {
	f := func(name, reason string, prepare func(p *place) string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			p := newPlace(t)
			path := prepare(p)
			p.accepted(path) // by root
			p.rules.User = &User{UID: stranger, GID: stranger, Groups: []uint32{stranger, stranger + 1}}
			if reason == "" {
				p.accepted(path)
			} else {
				p.refused(path, reason, true)
			}
		})
	}
	with := func(mode os.FileMode) func(p *place) string {
		return func(p *place) string { return p.file("vitals-plugin-a", script, mode) }
	}
	program := func(mode os.FileMode) func(p *place) string {
		return func(p *place) string {
			path := p.program(nil)
			p.chmod("vitals-plugin-program", mode)
			return path
		}
	}
	f("sound", "", with(0o755))
	f("root's alone", "DIR/vitals-plugin-a may not be read and executed by uid 12345, as whom it is run (mode 0700); run: chmod a+rx DIR/vitals-plugin-a", with(0o700))
	f("a script that cannot be read", "may not be read and executed by uid 12345", with(0o711))
	f("another group's", "may not be read and executed by uid 12345", with(0o750))
	f("a program", "may not be executed by uid 12345", program(0o744))
	f("a program that need not be read", "", program(0o711))
	f("a group's", "", func(p *place) string {
		path := p.file("vitals-plugin-a", script, 0o750)
		p.must(os.Chown(path, 0, stranger+1))
		return path
	})
	f("in a directory that is closed", "vitals-plugin-a is where uid 12345, as whom it is run, may not go: DIR/closed (mode 0700); run: chmod a+x DIR/closed", func(p *place) string {
		p.directory("closed/open", 0o755)
		p.chmod("closed", 0o700)
		return p.file("closed/open/vitals-plugin-a", script, 0o755)
	})
}
