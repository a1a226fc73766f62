package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestMakeRunOnACleanClone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	clone := filepath.Join(m.dir, "vitals")
	if out, err := exec.Command("git", "clone", "--quiet", root, clone).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	// What somebody has added is kept, and used.
	own := filepath.Join(clone, ".run", "node.d")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "own.conf"), []byte("[[outputs.file]]\n  files = [\""+own+"/lines\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// One that was killed, whose number something else has got since, is not in the way.
	if err := os.WriteFile(filepath.Join(clone, ".run", "pid"), []byte(itoa(os.Getpid())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := itoa(freePort(t))
	p := m.startMakeRun(clone, port)

	page := "http://127.0.0.1:" + port + "/"
	eventually(t, 10*time.Minute, func() string { // to build
		if !p.running() {
			t.Fatal("make run has ended")
		}
		text, _ := os.ReadFile(p.log)
		if !strings.Contains(string(text), page) {
			return "it has not printed the page's address"
		}
		return ""
	})
	started := time.Now()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, func() string { return missingVitals(t, page, host) })
	t.Logf("/api/nodes shows this machine %.1f s after the programs' start", time.Since(started).Seconds())
	eventually(t, 2*time.Minute, func() string {
		if text, _ := os.ReadFile(own + "/lines"); !strings.Contains(string(text), "host="+host) {
			return "the output in .run/node.d is not used"
		}
		return ""
	})
	eventually(t, 2*time.Minute, func() string {
		if dom := renderPage(t, page); !strings.Contains(dom, host) {
			return "the page does not show " + host + ":\n" + dom[:min(len(dom), 2000)]
		}
		return ""
	})

	again := exec.Command("sh", "deploy/run.sh")
	again.Dir = clone
	if _, stderr, code := run(t, again); code != 1 || !strings.Contains(stderr, "already runs in this folder") {
		t.Errorf("a second make run: exit code %d\n%s", code, stderr)
	}

	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT) // as Ctrl-C does
	select {
	case <-p.done:
	case <-time.After(2 * time.Minute):
		t.Fatal("Ctrl-C does not stop make run")
	}
	if status, _ := get(t, page); status != 0 {
		t.Error("the relay still runs after Ctrl-C")
	}
}

// startMakeRun runs make run in a process group of its own, as a terminal
// would.
func (m *machine) startMakeRun(dir, port string) *process {
	m.t.Helper()
	wrapper := m.file("make-run.sh", "cd "+dir+" && exec make run PORT="+port+"\n")
	p := m.start("setsid", "--wait", "sh", wrapper)
	m.t.Cleanup(func() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	return p
}

// missingVitals says what /api/nodes does not show of this machine.
func missingVitals(t *testing.T, page, host string) string {
	_, body := get(t, page+"api/nodes")
	var nodes []map[string]any
	if err := json.Unmarshal([]byte(body), &nodes); err != nil {
		return err.Error() + ": " + body
	}
	for _, n := range nodes {
		if n["name"] != host {
			continue
		}
		for _, key := range []string{"cpu_percent", "ram_percent", "swap_total_bytes"} {
			if n[key] == nil {
				return fmt.Sprintf("no %s in %s", key, body)
			}
		}
		if zones, _ := filepath.Glob("/sys/class/thermal/thermal_zone*/temp"); len(zones) > 0 && n["temperature_celsius"] == nil {
			return "no temperature in " + body
		}
		return ""
	}
	return "this machine is not there: " + body
}

// renderPage returns the page as a browser has it after its scripts have run. The
// page follows the nodes for as long as it is open, and virtual time would wait for
// the end of that.
func renderPage(t *testing.T, url string) string {
	t.Helper()
	browser := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+t.TempDir(), "--timeout=5000", "--dump-dom", url)
	out, err := browser.Output()
	if err != nil {
		t.Fatalf("chromium (sh tests/install.sh installs it): %v", err)
	}
	return string(out)
}

func TestAnOldGoIsRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	old := m.file("go", "#!/bin/sh\necho go1.19.8\n")
	if err := os.Chmod(old, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{old, filepath.Join(m.dir, "no-go")} {
		build := exec.Command("make", "--no-print-directory", "build", "GO="+tool)
		build.Dir = root
		stdout, stderr, code := run(t, build)
		if code == 0 || !strings.Contains(stderr, "vitals needs Go 1.26") || !strings.Contains(stderr, "install Go 1.26 or newer from") {
			t.Errorf("make build with %s: exit code %d\n%s%s", tool, code, stdout, stderr)
		}
	}
}
