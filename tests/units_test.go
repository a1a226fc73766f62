package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// exposures are the worst that systemd may say of a unit, from 0 to 10. An agent
// sees the machine as it is and runs programs of its owner.
var exposures = map[string]float64{"vitals-agent": 2.0, "vitals-relay": 1.5}

// unitIn copies a unit into a folder, with the programs of this tree, and what
// the guide adds to it as a file of its own.
func unitIn(t *testing.T, dir, program, addition string) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/package", program+".service"))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, program+".service")
	if addition != "" {
		if err := os.MkdirAll(path+".d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".d/own.conf", []byte(addition), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here := strings.ReplaceAll(string(text), "/usr/bin/", filepath.Join(root, "bin")+"/")
	if err := os.WriteFile(path, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verify has systemd read a unit, which says what it does not understand.
func verify(t *testing.T, path string) {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	if name := filepath.Base(path); err != nil || strings.Contains(string(out), name) {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for program, worst := range exposures {
		path := unitIn(t, t.TempDir(), program, "")
		verify(t, path)
		out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", path).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		said := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		if said == nil {
			t.Fatalf("%s", out)
		}
		exposure, err := strconv.ParseFloat(string(said[1]), 64)
		if err != nil || exposure > worst {
			t.Errorf("%s is exposed by %s, want at most %g\n%s", program, said[1], worst, out)
		}
	}
}

// What the guide adds to the units is understood, too.
func TestAdditionsToTheUnits(t *testing.T) {
	t.Parallel()
	additions := samplesOf(t, "docs/operating.md", "ini")
	if len(additions) != 5 {
		t.Errorf("the guide has %d additions", len(additions))
	}
	for _, a := range additions {
		program := "vitals-agent"
		if strings.Contains(a, "NET_BIND") {
			program = "vitals-relay"
		}
		verify(t, unitIn(t, t.TempDir(), program, a))
	}
}

// systemd leaves collectors to the agent: it signals the agent alone, which has
// to gather and send once more, and does not end it for one that is killed.
func TestTheUnitLeavesCollectorsToTheAgent(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile(filepath.Join(root, "deploy/package/vitals-agent.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"Type=notify", "WatchdogSec=60", "KillMode=mixed", "OOMPolicy=continue"} {
		if !strings.Contains(string(unit), "\n"+setting+"\n") {
			t.Errorf("there is no %s in\n%s", setting, unit)
		}
	}
}
