package join

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs are built once for all tests.
var programs sync.Map

// buildProgram builds a stand-in for the agent.
func buildProgram(t *testing.T, version, broken string) []byte {
	t.Helper()
	build := sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "vitals")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "vitals-agent")
		build := exec.Command("go", "build", "-o", path, "-ldflags", fmt.Sprintf("-s -w -X main.version=%s -X main.broken=%s", version, broken), "./testdata/program")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		return os.ReadFile(path)
	})
	once, _ := programs.LoadOrStore(version+broken, build)
	text, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(text)
}

// archive packs files as the archives of a distribution are packed.
func archive(t *testing.T, program []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	a := tar.NewWriter(z)
	for _, f := range []struct {
		name string
		mode int64
		text []byte
	}{{"usr/share/bash-completion/completions/vitals-agent", 0o644, []byte("# not this one")}, {"usr/bin/vitals-agent", 0o755, program}} {
		if f.text == nil {
			continue
		}
		if err := a.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write(f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(a.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// shelf is what a relay hands out: one package, possibly not as it should.
type shelf struct {
	Package
	body   []byte
	cut    int // the answer ends after so many bytes; 0: it does not
	ranges []string
}

func newShelf(version string, body []byte) *shelf {
	return &shelf{Package: Package{
		Name: "vitals-agent_" + version + "_" + architecture(runtime.GOARCH) + ".tar.gz", Program: "vitals-agent",
		Arch: architecture(runtime.GOARCH), Kind: "tar.gz", Version: version, Bytes: int64(len(body)), SHA256: sum(body),
	}, body: body}
}

func (s *shelf) serve(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/packages/":
		_ = json.NewEncoder(w).Encode(map[string]any{"version": "v" + s.Version, "packages": []Package{s.Package, {Name: "vitals-relay_9.0.0_amd64.tar.gz", Program: "vitals-relay", Arch: s.Arch, Kind: s.Kind, Version: "9.0.0"}}})
		return true
	case "/packages/" + s.Name:
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		if s.cut > 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(s.body)))
			_, _ = w.Write(s.body[:s.cut])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, s.Name, time.Time{}, bytes.NewReader(s.body))
		return true
	}
	return false
}

// upgrading is a machine that has joined and has this version.
func upgrading(t *testing.T, program []byte) (*world, *primary) {
	t.Helper()
	p := newPrimary(t)
	w := newWorld(t, p)
	w.setup.Program = w.setup.path("/usr/bin/vitals-agent")
	w.put("/usr/bin/vitals-agent", string(program))
	if err := os.Chmod(w.setup.Program, 0o755); err != nil {
		t.Fatal(err)
	}
	w.setup.Version = w.installed()
	w.managed = true
	if err := w.join(goodCode); err != nil {
		t.Fatal(err)
	}
	w.did = nil
	w.out.Reset()
	return w, p
}

// installed is the version that would be started now.
func (w *world) installed() string {
	w.t.Helper()
	out, err := exec.Command(w.setup.Program, "version").Output()
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "vitals-agent ")
}

func (w *world) upgrade(o UpgradeOptions) error { return w.setup.Upgrade(w.t.Context(), o) }

// left fails unless of the folder of an upgrade only the version before is left.
func (w *world) leaves(what, version string) {
	w.t.Helper()
	entries, err := os.ReadDir(w.setup.path(previousDirectory))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "vitals-agent" {
			w.t.Errorf("%s: %s is left", what, e.Name())
		}
	}
	out, err := exec.Command(w.setup.previous(), "version").Output()
	if err != nil || strings.TrimSpace(string(out)) != "vitals-agent "+version {
		w.t.Errorf("%s: the version before is %q, %v", what, out, err)
	}
}

func TestUpgrade(t *testing.T) {
	old, next := buildProgram(t, "v0.1.0", ""), buildProgram(t, "v0.2.0", "")
	w, p := upgrading(t, old)
	s := newShelf("0.2.0", archive(t, next))
	p.answer = s.serve
	if err := w.upgrade(UpgradeOptions{Check: true}); err != nil || !strings.Contains(w.out.String(), "has 0.2.0; this is 0.1.0") {
		t.Errorf("%v: %s", err, &w.out)
	}
	if err := w.upgrade(UpgradeOptions{Rollback: true}); err == nil || !strings.Contains(err.Error(), "no upgrade has left one in "+filepath.Dir(w.setup.previous())) {
		t.Errorf("back to what there is not: %v", err)
	}
	if err := w.upgrade(UpgradeOptions{}); err != nil {
		t.Fatal(err)
	}
	if w.installed() != "v0.2.0" || w.state.Version != "v0.2.0" || !strings.Contains(w.out.String(), "upgrade --rollback") {
		t.Errorf("%s is installed, %s runs\n%s", w.installed(), w.state.Version, &w.out)
	}
	w.leaves("upgraded", "v0.1.0")
	// The new one sees that there is nothing to do …
	w.setup.Version = "v0.2.0"
	w.did = nil
	if err := w.upgrade(UpgradeOptions{}); err != nil || len(w.did) > 0 {
		t.Errorf("%v, %v", err, w.did)
	}
	// … and goes back, when it is told to.
	if err := w.upgrade(UpgradeOptions{Rollback: true}); err != nil {
		t.Fatal(err)
	}
	if w.installed() != "v0.1.0" || w.state.Version != "v0.1.0" {
		t.Errorf("%s is installed, %s runs", w.installed(), w.state.Version)
	}
	w.leaves("rolled back", "v0.1.0")
}

// What is not right is found before anything is installed, and a second try works.
func TestUpgradesThatAreRefused(t *testing.T) {
	old, next := buildProgram(t, "v0.1.0", ""), buildProgram(t, "v0.2.0", "")
	foreign := bytes.Clone(next)
	foreign[18] ^= 0xff // the machine in its header
	other := archive(t, foreign)
	good := archive(t, next)
	f := func(name string, body []byte, set func(s *shelf), want string) {
		t.Helper()
		w, p := upgrading(t, old)
		s := newShelf("0.2.0", body)
		set(s)
		p.answer = s.serve
		err := w.upgrade(UpgradeOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "v0.1.0 stays") {
			t.Errorf("%s: %v", name, err)
		}
		if w.installed() != "v0.1.0" || len(w.did) > 0 {
			t.Errorf("%s: %s is installed, %v", name, w.installed(), w.did)
		}
		s = newShelf("0.2.0", good)
		p.answer = s.serve
		if err := w.upgrade(UpgradeOptions{}); err != nil || w.installed() != "v0.2.0" {
			t.Errorf("%s: second try: %v", name, err)
		}
	}
	f("damaged", good, func(s *shelf) { s.SHA256 = sum([]byte("x")) }, "arrived damaged")
	f("cut", good, func(s *shelf) { s.cut = len(s.body) / 2 }, "goes on from there")
	f("too long", good, func(s *shelf) { s.Bytes = 100 }, "longer than the 100 bytes")
	f("no size", good, func(s *shelf) { s.Bytes = 1 << 40 }, "no sound size")
	f("for other machines", other, func(*shelf) {}, "Put the right package on the relay")
	f("no program in it", archive(t, nil), func(*shelf) {}, "no vitals-agent in it")
	f("no archive", []byte("hello"), func(*shelf) {}, "look into the package")
	f("no program but a text", archive(t, []byte("#!/bin/sh\n")), func(*shelf) {}, "it is no program")
	f("older", good, func(s *shelf) { s.Version = "0.0.9" }, "--force")
	f("of no known order", good, func(s *shelf) { s.Version = "dev" }, "cannot be told")
	f("none for this machine", good, func(s *shelf) { s.Arch = "mips" }, "vitals-packages")
	f("a version that steers the terminal", good, func(s *shelf) { s.Version = "0.2.0\x1b[2J" }, "vitals-packages")
	f("another version than its name says", archive(t, old), func(*shelf) {}, "is v0.1.0: put the right package")
	f("a name that is a path", good, func(s *shelf) { s.Name = "../../etc/passwd" }, "vitals-packages")
}

// What root installs does not come from whoever is on the way.
func TestNoUpgradeOverPlainHTTP(t *testing.T) {
	w, _ := upgrading(t, buildProgram(t, "v0.1.0", ""))
	f := func(url string, want bool) {
		t.Helper()
		note, err := w.setup.readNote()
		if err != nil {
			t.Fatal(err)
		}
		note.Relay, note.Pin = url, ""
		w.put(notePath, string(note.encode()))
		if err := w.upgrade(UpgradeOptions{}); err == nil || strings.Contains(err.Error(), "plain HTTP") != want {
			t.Errorf("%s: %v", url, err)
		}
		if err := w.upgrade(UpgradeOptions{Force: true}); err == nil || strings.Contains(err.Error(), "plain HTTP") {
			t.Errorf("%s, with force: %v", url, err)
		}
	}
	f("http://192.0.2.1.invalid:1", true)
	f("http://localhost:1", false)
	f("http://127.9.9.9:1", false)
	f("http://[::1]:1", false)
	f("https://relay.invalid:1", false)
}

func TestADownloadGoesOn(t *testing.T) {
	old, next := buildProgram(t, "v0.1.0", ""), buildProgram(t, "v0.2.0", "")
	w, p := upgrading(t, old)
	s := newShelf("0.2.0", archive(t, next))
	p.answer = s.serve
	s.cut = 100_000
	if err := w.upgrade(UpgradeOptions{}); err == nil {
		t.Fatal("half a package will do")
	}
	s.cut = 0
	if err := w.upgrade(UpgradeOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(s.ranges) != 2 || s.ranges[0] != "" || !strings.HasPrefix(s.ranges[1], "bytes=") {
		t.Errorf("asked for %q", s.ranges)
	}
}

func TestDowngradesAreForced(t *testing.T) {
	old, next := buildProgram(t, "v0.1.0", ""), buildProgram(t, "v0.2.0", "")
	w, p := upgrading(t, next)
	p.answer = newShelf("0.1.0", archive(t, old)).serve
	if err := w.upgrade(UpgradeOptions{Force: true}); err != nil || w.installed() != "v0.1.0" {
		t.Errorf("%v, %s", err, w.installed())
	}
	w.leaves("downgraded", "v0.2.0")
}

// A version that does not do what it should is not left in place.
func TestBadVersionsArePutBack(t *testing.T) {
	old := buildProgram(t, "v0.1.0", "")
	bad := archive(t, buildProgram(t, "v0.2.0", "refused"))
	f := func(name string, set func(w *world), want string) {
		t.Helper()
		w, p := upgrading(t, old)
		p.answer = newShelf("0.2.0", bad).serve
		set(w)
		err := w.upgrade(UpgradeOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "v0.1.0 is back") {
			t.Errorf("%s: %v", name, err)
		}
		if w.installed() != "v0.1.0" || w.managed && w.state.Version != "v0.1.0" {
			t.Errorf("%s: %s is installed, %s runs", name, w.installed(), w.state.Version)
		}
		w.leaves(name, "v0.1.0")
	}
	f("it writes nothing", func(w *world) { w.silentVersion, w.setup.Patience = "v0.2.0", 500*time.Millisecond }, "503")
	f("it does not start", func(w *world) { w.deadVersion = "v0.2.0" }, "it does not start")
	f("no service, and it writes nothing", func(w *world) { w.managed, w.running = false, false }, "refused")
	f("broken off", func(w *world) {
		w.silentVersion = "v0.2.0"
		ctx, cancel := context.WithCancel(t.Context())
		w.setup.Apart = func(context.Context) error {
			w.setup.Apart = nil
			w.asked = func() {
				if w.state.Version == w.silentVersion {
					cancel()
				}
			}
			return w.setup.Upgrade(ctx, UpgradeOptions{})
		}
	}, "it was broken off")
}

// A package manager that is killed in the middle leaves its lists broken: it comes
// to its end, and then the version before is put back.
func TestAPackageManagerIsNotKilled(t *testing.T) {
	dir := t.TempDir()
	began, ended := filepath.Join(dir, "began"), filepath.Join(dir, "ended")
	script := "#!/bin/sh\n: >" + began + "\nsleep 1\n: >" + ended + "\n"
	if err := os.WriteFile(filepath.Join(dir, "dpkg"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	program := buildProgram(t, "v0.1.0", "")
	w, p := upgrading(t, program)
	j := &journal{From: "v0.1.0", To: "v0.2.0", Path: w.setup.Program, Relay: p.URL, Runs: true, Package: Package{Name: "vitals-agent_0.2.0_amd64.deb", Kind: "deb", SHA256: sum([]byte("deb"))}}
	w.put(previousDirectory+"/"+j.Package.Name, "deb")
	w.put(previousDirectory+"/"+programName, string(program))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for t.Context().Err() == nil {
			if _, err := os.Stat(began); err == nil {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if err := w.setup.carryOut(ctx, j); err == nil || !strings.Contains(err.Error(), "it was broken off") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(ended); err != nil {
		t.Errorf("it was killed: %v", err)
	}
}

// An upgrade that was killed leaves an agent that works, and is gone on with.
func TestAnUpgradeThatWasKilled(t *testing.T) {
	old, next := buildProgram(t, "v0.1.0", ""), buildProgram(t, "v0.2.0", "")
	f := func(name string, installed []byte, version string) {
		t.Helper()
		w, p := upgrading(t, old)
		p.answer = newShelf("0.2.0", archive(t, next)).serve
		j, err := w.setup.prepare(t.Context(), false)
		if err != nil || j == nil {
			t.Fatal(name, err)
		}
		w.put("/usr/bin/vitals-agent", string(installed))
		w.setup.Version = version
		if err := w.upgrade(UpgradeOptions{}); err != nil || w.installed() != "v0.2.0" {
			t.Errorf("%s: %v, %s", name, err, w.installed())
		}
		w.leaves(name, "v0.1.0")
	}
	f("before it was installed", old, "v0.1.0")
	f("after it was installed", next, "v0.2.0")
}
