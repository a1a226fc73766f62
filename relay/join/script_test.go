package join

import (
	"crypto/tls"
	"errors"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rpicluster/vitals/internal/pin"
	"github.com/rpicluster/vitals/relay/auth"
)

// shells are those that the script must run in.
var shells = []string{"dash", "bash", "busybox sh"}

// newNode is a machine that runs the script: a folder with the programs that it
// has and one for its files that are not kept.
type newNode struct {
	t                   *testing.T
	lab                 *lab
	server              *httptest.Server
	bin, tmp, did, code string
	pin                 string
	shells              []string
}

// Programs that are played: what they are asked is written to the file did.
const (
	fakeAgent = `#!/bin/sh
case $1 in
version) echo "vitals-agent v$(cat "$BIN/agent.version")" ;;
*) printf 'agent' >>"$DID"; printf ' <%s>' "$@" >>"$DID"; echo >>"$DID" ;;
esac
`
	fakeDpkg = `#!/bin/sh
case $1 in
--print-architecture) echo "$ARCH"; exit ;;
esac
for file; do :; done
echo "dpkg ${file##*/}" >>"$DID"
[ -z "$FAIL" ] || { echo "dpkg: error: no room" >&2; exit 1; }
cp "$BIN/agent.new" "$BIN/vitals-agent"
`
	fakeRpm = `#!/bin/sh
[ "$1" != --version ] || exit 0
for file; do :; done
echo "rpm ${file##*/}" >>"$DID"
cp "$BIN/agent.new" "$BIN/vitals-agent"
`
)

// newMachine has a relay with packages for all, and a new machine beside it.
func newMachine(t *testing.T) *newNode {
	t.Helper()
	l := newLab(t, auth.Required)
	for _, arch := range []string{"amd64", "arm64", "armhf"} {
		l.file("packages/vitals-agent_0.2.0_"+arch+".deb", "deb for "+arch)
		l.file("packages/vitals-agent_0.2.0_"+arch+".rpm", "rpm for "+arch)
		l.file("packages/vitals-agent_0.1.0_"+arch+".deb", "old deb for "+arch)
	}
	certFile, keyFile, err := auth.OwnKey(filepath.Join(l.dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	n := &newNode{t: t, lab: l, bin: t.TempDir(), tmp: t.TempDir(), pin: pin.Of(pair.Leaf), shells: shells}
	l.config.Pin = func(string) string { return n.pin }
	n.server = httptest.NewUnstartedServer(l.Before(http.NotFoundHandler()))
	n.server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	n.server.Config.ErrorLog = stdlog.New(io.Discard, "", 0) // of clients that know another key
	n.server.StartTLS()
	t.Cleanup(n.server.Close)
	n.did, n.code = filepath.Join(n.bin, "did"), filepath.Join(n.bin, "code")
	for _, name := range []string{"sh", "sed", "head", "grep", "sha256sum", "mktemp", "rm", "tr", "od", "cat", "cp", "tar", "gzip", "curl", "id", "uname", "getconf"} {
		n.has(name)
	}
	n.plays("agent.new", fakeAgent)
	n.plays("agent.version", "0.2.0\n")
	n.plays("dpkg", fakeDpkg)
	n.plays("code", "K7QX-4M2P-9TRD-8WVB\n")
	return n
}

// has gives the machine a program of this one.
func (n *newNode) has(name string) {
	n.t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		err = os.Symlink(path, filepath.Join(n.bin, name))
	}
	if err != nil {
		n.t.Fatalf("%s: %v; tests/install.sh installs it", name, err)
	}
}

func (n *newNode) lacks(name string) {
	n.t.Helper()
	if err := os.Remove(filepath.Join(n.bin, name)); err != nil {
		n.t.Fatal(err)
	}
}

// plays gives the machine a program of its own.
func (n *newNode) plays(name, text string) {
	n.t.Helper()
	path := filepath.Join(n.bin, name)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		n.t.Fatal(err)
	}
	// A process that another test forks meanwhile would have the file open, too,
	// for a moment, and nobody could run it: "Text file busy".
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte(text), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		n.t.Fatal(err)
	}
}

// says has a program print a text.
func (n *newNode) says(name, text string) { n.plays(name, "#!/bin/sh\necho "+text+"\n") }

// script is what the machine is sent.
func (n *newNode) script() string {
	n.t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Get(n.server.URL + "/join")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/x-shellscript") {
		n.t.Fatalf("%v: %s %s", err, resp.Status, resp.Header)
	}
	return string(text)
}

// pipes runs a script from standard input, without a terminal, and returns what
// it printed, what it had done and whether it succeeded.
func (n *newNode) pipes(shell, script string, env ...string) (printed, did string, ok bool) {
	n.t.Helper()
	if err := os.RemoveAll(n.did); err != nil {
		n.t.Fatal(err)
	}
	words := strings.Fields(shell)
	if words[0] == "busybox" {
		script = n.functions() + script
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		n.t.Fatalf("%v; tests/install.sh installs it", err)
	}
	cmd := exec.Command(path, words[1:]...)
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append([]string{"PATH=" + n.bin, "BIN=" + n.bin, "DID=" + n.did, "TMPDIR=" + n.tmp, "ARCH=armhf"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		n.t.Fatal(err)
	}
	text, err := os.ReadFile(n.did)
	if err != nil && !os.IsNotExist(err) {
		n.t.Fatal(err)
	}
	if left, err := os.ReadDir(n.tmp); err != nil || len(left) > 0 {
		n.t.Errorf("%s: %v is left, %v", shell, left, err)
	}
	return string(out), strings.TrimSuffix(string(text), "\n"), cmd.ProcessState.Success()
}

// functions are the machine's own programs for a shell that has programs in
// itself, and prefers those to any that lie in $PATH.
func (n *newNode) functions() (text string) {
	for _, name := range []string{"dpkg", "rpm", "uname", "id", "od", "getconf", "tar", "sh"} {
		call := "return 127"
		if info, err := os.Lstat(filepath.Join(n.bin, name)); err == nil {
			if info.Mode()&os.ModeSymlink != 0 {
				continue
			}
			call = `"$BIN/` + name + `" "$@"`
		}
		text += name + "() { " + call + "; }\n"
	}
	return text
}

// in runs what follows in some shells only.
func (n *newNode) in(some ...string) { n.shells = some }

// wants runs the script in every shell and expects what it does, and prints.
func (n *newNode) wants(what, did, printed string, ok bool, env ...string) {
	n.t.Helper()
	script := n.script()
	for _, shell := range n.shells {
		os.Remove(filepath.Join(n.bin, "vitals-agent"))
		gotPrinted, gotDid, gotOK := n.pipes(shell, script, append([]string{"VITALS_CODE_FILE=" + n.code}, env...)...)
		if gotDid != did || !strings.Contains(gotPrinted, printed) || gotOK != ok {
			n.t.Errorf("%s in %s: it did %q, want %q (%v)\n%s", what, shell, gotDid, did, gotOK, gotPrinted)
		}
	}
}

// joins is how the agent is called in the end.
func (n *newNode) joins() string {
	return "agent <join> <" + n.server.URL + "> <--pin> <" + n.pin + "> <--code-file> <" + n.code + ">"
}

func TestTheScriptTakesThePackageOfTheUserland(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	f := func(what, arch, kernel, did string) {
		t.Helper()
		n.says("uname", kernel)
		n.wants(what, did+"\n"+n.joins(), "installs", true, "ARCH="+arch)
	}
	f("amd64", "amd64", "x86_64", "dpkg vitals-agent_0.2.0_amd64.deb")
	f("a 64-bit system", "arm64", "aarch64", "dpkg vitals-agent_0.2.0_arm64.deb")
	f("a 64-bit kernel below a 32-bit system", "armhf", "aarch64", "dpkg vitals-agent_0.2.0_armhf.deb")
	f("ARMv6", "armhf", "armv6l", "dpkg vitals-agent_0.2.0_armhf.deb")
	n.wants("unknown", "", "no .deb of vitals-agent for riscv64", false, "ARCH=riscv64")
	n.wants("unknown", "", "vitals-agent_0.2.0_armhf.rpm", false, "ARCH=riscv64")

	n.lacks("dpkg")
	n.plays("rpm", fakeRpm)
	header := func(class, machine string) {
		n.plays("od", "#!/bin/sh\ncase $3 in\n-j4) echo ' "+class+"' ;;\n*) echo ' "+machine+"' ;;\nesac\n")
	}
	header("1", "40")
	f("without dpkg, a 64-bit kernel below a 32-bit system", "", "aarch64", "rpm vitals-agent_0.2.0_armhf.rpm")
	f("without dpkg, ARMv6", "", "armv6l", "rpm vitals-agent_0.2.0_armhf.rpm")
	header("2", "183")
	f("without dpkg, arm64", "", "aarch64", "rpm vitals-agent_0.2.0_arm64.rpm")
	header("2", "62")
	f("without dpkg, amd64", "", "x86_64", "rpm vitals-agent_0.2.0_amd64.rpm")
	header("1", "40")
	n.says("uname", "armv5tel")
	n.wants("without dpkg, ARMv5", "", "for armv5tel", false)
	n.in("dash", "bash") // the other has one in itself
	n.lacks("od")
	n.says("getconf", "32")
	f("with neither dpkg nor od", "", "aarch64", "rpm vitals-agent_0.2.0_armhf.rpm")
}

// Headers of programs are read as they are.
func TestTheScriptReadsTheHeaderOfAProgram(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	functions, _, _ := strings.Cut(n.script(), "\nmain \"$@\"")
	f := func(class, machine byte, kernel, want string) {
		t.Helper()
		n.says("uname", kernel)
		program := append([]byte("\x7fELF"), make([]byte, 60)...)
		program[4], program[18] = class, machine
		n.plays("program", string(program))
		for _, shell := range shells {
			got, _, _ := n.pipes(shell, functions+"\nof_program '"+filepath.Join(n.bin, "program")+"'\n")
			if got != want+"\n" {
				t.Errorf("%d, %d, %s in %s: %q", class, machine, kernel, shell, got)
			}
		}
	}
	f(2, 62, "x86_64", "amd64")
	f(2, 183, "aarch64", "arm64")
	f(1, 40, "aarch64", "armhf")
	f(1, 40, "armv6l", "armhf")
	f(1, 40, "armv5tel", "armv5tel")
	f(1, 3, "x86_64", "x86_64") // 32-bit programs on a 64-bit PC
	f(2, 243, "riscv64", "riscv64")
}

func TestTheScriptUnpacksAnArchive(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	n.lacks("dpkg")
	n.lab.file("packages/vitals-agent_0.2.0_amd64.tar.gz", "archive")
	n.plays("tar", "#!/bin/sh\necho \"tar $1 ${2##*/} $3 $4\" >>\"$DID\"\n")
	n.plays("sh", "#!/bin/sh\necho \"sh $*\" >>\"$DID\"\ncp \"$BIN/agent.new\" \"$BIN/vitals-agent\"\n")
	n.plays("od", "#!/bin/sh\ncase $3 in\n-j4) echo 2 ;;\n*) echo 62 ;;\nesac\n")
	n.wants("an archive", "tar -xzf vitals-agent_0.2.0_amd64.tar.gz -C /\nsh /usr/lib/vitals/vitals-agent.setup\n"+n.joins(), "installs", true)
}

func TestTheScriptChangesNothingWhenSomethingIsWrong(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	n.says("id", "1000")
	n.wants("not root", "", "only root can install the agent", false)
	n.says("id", "0")
	n.wants("root", "dpkg vitals-agent_0.2.0_armhf.deb\n"+n.joins(), "", true)

	n.wants("no room", "dpkg vitals-agent_0.2.0_armhf.deb", "could not be installed", false, "FAIL=1")

	good := n.pin
	n.pin = aPin
	n.wants("another key", "", "the relay does not answer as it should", false)
	n.pin = good

	n.lab.file("packages/SHA256SUMS", sumOf("as it was made")+"  vitals-agent_0.2.0_armhf.deb\n")
	n.wants("tampered", "", "vitals-agent_0.2.0_armhf.deb is damaged", false)
	if err := os.Remove(filepath.Join(n.lab.dir, "packages", "SHA256SUMS")); err != nil {
		t.Fatal(err)
	}

	n.lacks("curl")
	n.wants("no curl", "", "curl is not installed", false)
	n.has("curl")
	n.in("dash", "bash") // the other has one in itself
	n.lacks("sha256sum")
	n.wants("no sha256sum", "", "sha256sum is not installed", false)
	n.has("sha256sum")
	n.in(shells...)
	n.wants("no room for files", "", "there is no room", false, "TMPDIR=/dev/null/x")
}

func TestTheScriptStopsWhenTheRelayGoesAway(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	whole := n.server.Config.Handler
	n.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".deb") {
			whole.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", "1000")
		w.Write([]byte("half of it"))
		panic(http.ErrAbortHandler)
	})
	n.wants("in the middle of the package", "", "vitals-agent_0.2.0_armhf.deb did not arrive", false)
	script := n.script()
	n.server.Close()
	for _, shell := range shells {
		if printed, did, ok := n.pipes(shell, script); did != "" || ok || !strings.Contains(printed, "the relay does not answer as it should") {
			t.Errorf("in %s: %q, %v\n%s", shell, did, ok, printed)
		}
	}
}

func TestTheScriptGoesStraightToJoining(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	n.plays("vitals-agent", fakeAgent)
	script := n.script()
	f := func(what, version, want string) {
		t.Helper()
		for _, shell := range shells {
			n.plays("vitals-agent", fakeAgent)
			n.plays("agent.version", version+"\n")
			if printed, did, ok := n.pipes(shell, script, "VITALS_CODE_FILE="+n.code); did != want || !ok {
				t.Errorf("%s in %s: %q\n%s", what, shell, did, printed)
			}
		}
	}
	f("the same version", "0.2.0", n.joins())
	f("another version", "0.2.0-rc1", "dpkg vitals-agent_0.2.0_armhf.deb\n"+n.joins())
	n.lab.file("packages/vitals-agent_0.3.0~rc1_armhf.deb", "one before a release")
	f("the same before a release", "0.3.0-rc1", n.joins())
	if err := os.Remove(filepath.Join(n.lab.dir, "packages", "vitals-agent_0.3.0~rc1_armhf.deb")); err != nil {
		t.Fatal(err)
	}
	f("an older version", "0.1.0", "dpkg vitals-agent_0.2.0_armhf.deb\n"+n.joins())
	if err := os.RemoveAll(filepath.Join(n.lab.dir, "packages")); err != nil {
		t.Fatal(err)
	}
	f("the relay has no package", "0.1.0", n.joins())
	n.wants("the relay has no package, nor the machine an agent", "", "It has: none\nInstall the package vitals-packages on the relay", false)
}

// A download that is cut off anywhere runs nothing.
func TestAScriptThatIsCutOffDoesNothing(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	n.plays("vitals-agent", fakeAgent)
	n.plays("main", "#!/bin/sh\necho main >>\"$DID\"\n")
	script := n.script()
	call := strings.LastIndex(script, "main")
	for at := 1; at < call+len("main"); {
		for _, shell := range []string{"dash", "busybox sh"} {
			if printed, did, _ := n.pipes(shell, script[:at], "VITALS_CODE_FILE="+n.code); did != "" {
				t.Fatalf("cut off at byte %d in %s: it did %q\n%s", at, shell, did, printed)
			}
		}
		if at += 61; at > call-40 {
			at -= 60
		}
	}
}

// With a terminal the agent asks for the code there; without one somebody has to
// put it in a file.
func TestTheScriptAndTerminals(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	n.plays("agent.new", strings.Replace(fakeAgent, "printf 'agent'", "read -r code; printf 'agent told %s' \"$code\"", 1))
	printed, did, ok := n.pipes("sh", n.script())
	if ok || did != "dpkg vitals-agent_0.2.0_armhf.deb" || !strings.Contains(printed, "--code-file FILE") {
		t.Errorf("%q, %v\n%s", did, ok, printed)
	}
	file := filepath.Join(n.bin, "join.sh")
	n.plays("join.sh", n.script())
	cmd := exec.Command("script", "-qec", "/bin/sh '"+file+"'", "/dev/null")
	cmd.Env = []string{"PATH=" + n.bin, "BIN=" + n.bin, "DID=" + n.did, "TMPDIR=" + n.tmp, "ARCH=armhf", "SHELL=/bin/sh"}
	cmd.Stdin = strings.NewReader("K7QX\n")
	out, err := cmd.CombinedOutput()
	text, readErr := os.ReadFile(n.did)
	if err != nil || readErr != nil || !strings.Contains(string(text), "agent told K7QX <join> <"+n.server.URL+"> <--pin> <"+n.pin+">\n") {
		t.Errorf("%v, %v: %s\n%s", err, readErr, text, out)
	}
}

func TestTheScriptIsSound(t *testing.T) {
	t.Parallel()
	n := newMachine(t)
	n.plays("join.sh", n.script())
	for _, check := range []string{"sh -n", "dash -n", "bash -n", "busybox sh -n", "shellcheck --shell=sh"} {
		words := append(strings.Fields(check), filepath.Join(n.bin, "join.sh"))
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v; tests/install.sh installs what is missing\n%s", check, err, out)
		}
	}
}
