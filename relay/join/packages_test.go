package join

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/relay/auth"
)

func (l *lab) index() index {
	l.t.Helper()
	w := l.ask("GET", "/packages/", "", nil)
	var list index
	if err := json.Unmarshal(w.Body.Bytes(), &list); w.Code != 200 || err != nil || list.Packages == nil {
		l.t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return list
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestPackagesAreListedAndServed(t *testing.T) {
	l := newLab(t, auth.Required)
	if list := l.index(); list.Version != "" || len(list.Packages) != 0 {
		t.Errorf("without a directory: %+v", list)
	}
	l.file("packages/vitals-agent_0.9.0_armhf.deb", "old")
	l.file("packages/vitals-agent_0.10.0_armhf.deb", "new")
	l.file("packages/vitals-agent_0.10.0_armhf.tar.gz", "archive")
	l.file("packages/vitals-relay_0.11.0_amd64.rpm", "relay")
	l.file("packages/vitals-packages_0.10.0_all.deb", "all of them")
	l.file("packages/README", "")
	l.file("packages/.vitals-agent_0.10.0_armhf.deb", "half")
	l.file("packages/vitals-agent_0.12.0_armhf.deb/x", "")
	l.file("secret", "secret")
	list := l.index()
	var names []string
	for _, p := range list.Packages {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); list.Version != "v0.10.0" ||
		got != "vitals-relay_0.11.0_amd64.rpm vitals-agent_0.10.0_armhf.deb vitals-agent_0.10.0_armhf.tar.gz vitals-agent_0.9.0_armhf.deb" {
		t.Errorf("%s: %s", list.Version, got)
	}
	if p := list.Packages[1]; p != (pack{"vitals-agent_0.10.0_armhf.deb", "vitals-agent", "armhf", "deb", "0.10.0", 3, sumOf("new")}) {
		t.Errorf("%+v", p)
	}
	if w := l.ask("GET", "/packages/SHA256SUMS", "", nil); !strings.Contains(w.Body.String(), sumOf("new")+"  vitals-agent_0.10.0_armhf.deb\n") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	f := func(path string, want int, body string) {
		t.Helper()
		if w := l.ask("GET", path, "", nil); w.Code != want || body != "" && w.Body.String() != body {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	f("/packages/vitals-agent_0.10.0_armhf.deb", 200, "new")
	f("/packages/vitals-packages_0.10.0_all.deb", 404, "")
	f("/packages/README", 404, "")
	f("/packages/%2e%2e%2fsecret", 404, "")
	f("/packages/..%2fsecret", 404, "")
	f("/packages/vitals-agent_0.12.0_armhf.deb", 404, "")
	if w := l.ask("GET", "/packages/vitals-agent_0.10.0_armhf.deb", "", func(r *http.Request) { r.Header.Set("Range", "bytes=1-") }); w.Code != 206 || w.Body.String() != "ew" {
		t.Errorf("a part: %d %s", w.Code, w.Body)
	}
}

func TestAReplacedPackageHasItsOwnChecksum(t *testing.T) {
	l := newLab(t, auth.Required)
	const name = "packages/vitals-agent_1_amd64.deb"
	l.file(name, "one")
	first := l.index().Packages[0].SHA256
	l.file(name, "another")
	if second := l.index().Packages[0].SHA256; first != sumOf("one") || second != sumOf("another") {
		t.Error(first, second)
	}
}

// A package that was damaged on the relay keeps the checksum of its maker.
func TestTheMakersChecksumsAreServed(t *testing.T) {
	l := newLab(t, auth.Required)
	l.file("packages/vitals-agent_1_amd64.deb", "damaged")
	l.file("packages/vitals-agent_1_arm64.deb", "unlisted")
	l.file("packages/SHA256SUMS", sumOf("whole")+"  vitals-agent_1_amd64.deb\n"+strings.ToUpper(sumOf("x"))+" *dist/other\nnonsense\n")
	list := l.index().Packages
	if list[0].SHA256 != sumOf("whole") || list[1].SHA256 != sumOf("unlisted") {
		t.Errorf("%+v", list)
	}
}

func TestPackagesThatCannotBeReadAreTold(t *testing.T) {
	l := newLab(t, auth.Required)
	l.file("packages", "a file")
	if w := l.ask("GET", "/packages/", "", nil); w.Code != 500 || strings.Contains(w.Body.String(), l.dir) || !strings.Contains(l.log.String(), l.dir) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if err := os.Remove(filepath.Join(l.dir, "packages")); err != nil {
		t.Fatal(err)
	}
	l.file("packages/vitals-agent_1_amd64.deb", "x")
	l.index()
}

// Something else than a file is not waited for.
func TestAPipeIsNoFile(t *testing.T) {
	for _, name := range []string{sumsName, "vitals-agent_1_amd64.deb"} {
		l := newLab(t, auth.Required)
		l.file("packages/vitals-agent_1_arm64.deb", "x")
		if err := syscall.Mkfifo(filepath.Join(l.dir, "packages", name), 0o644); err != nil {
			t.Fatal(err)
		}
		answered := make(chan int, 1)
		go func() { answered <- l.ask("GET", "/packages/", "", nil).Code }()
		select {
		case status := <-answered:
			if want := map[bool]int{true: 500, false: 200}[name == sumsName]; status != want {
				t.Errorf("%s: %d, want %d", name, status, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s is waited for", name)
		}
	}
	// Nor is one that has come into the place of a package meanwhile.
	l := newLab(t, auth.Required)
	if err := errors.Join(os.Mkdir(filepath.Join(l.dir, "packages"), 0o755), syscall.Mkfifo(filepath.Join(l.dir, "packages", "a"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.packages.open("a"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Error(err)
	}
}

func TestVersionsAreOrdered(t *testing.T) {
	sorted := []string{"0.0.0~dev", "0.2.0~rc1", "0.2.0", "0.2.0+1", "0.2.1", "0.10", "0.10.0", "1.0", "1.0a", "10"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := compareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
}
