package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// installPython puts the Python example and what it imports beside each other
// in a plugin directory.
func (m *machine) installPython(dir string) {
	m.t.Helper()
	for _, from := range []string{"plugins/examples/python", "plugins/proto/python"} {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, from))); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "vitals-plugin-pydice"), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// pids returns the plugin process of each input, by the input's name, as the
// agent's status tells; 0 or nothing for one that does not run.
func (m *machine) pids() map[string]int {
	// The exit code tells whether all is well; here it need not be.
	out, _ := m.command("vitals-agent", "status", "--json").Output()
	var status struct {
		Inputs []struct {
			Name string
			PID  int
		}
	}
	_ = json.Unmarshal(out, &status)
	pids := map[string]int{}
	for _, in := range status.Inputs {
		pids[in.Name] = in.PID
	}
	return pids
}

func TestDropInsAreUsedAsBuiltInOnes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, `plugin_directory = ["$DIR/plugins"]`, fourCollectors+`
[[inputs.dice]]
  sides = 20
  [inputs.dice.tags]
    table = "green"
[[inputs.pydice]]
`)
	c.installPython(c.buildPlugin("dice", "./plugins/examples/dice"))
	c.db.start()
	c.startRelay()
	c.startAgent()
	time.Sleep(12 * time.Second)

	pids := c.pids()
	if pids["cpu"] != pids["ram"] || pids["dice"] == pids["cpu"] || pids["pydice"] == pids["cpu"] || pids["dice"] == 0 || pids["pydice"] == 0 {
		t.Errorf("built-in collectors share one process and drop-ins have their own; got %v", pids)
	}
	for _, name := range []string{"dice", "pydice", "cpu"} {
		t.Logf("kill -9 %s, process %d", name, pids[name])
		if err := syscall.Kill(pids[name], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7 * time.Second)
	}
	after := c.pids()
	for _, name := range []string{"dice", "pydice", "cpu"} {
		if after[name] == pids[name] || after[name] == 0 {
			t.Errorf("%s has process %d, before it was killed %d", name, after[name], pids[name])
		}
	}
	c.agent.stop()
	c.delivered()

	missing := func(measurement, field, where string) []int64 {
		at := c.db.seconds("node_vitals", measurement, field, where)
		first, last := int64(1<<62), int64(0)
		for s := range at {
			first, last = min(first, s), max(last, s)
		}
		var gone []int64
		for s := first; s < last; s++ {
			if at[s] == 0 {
				gone = append(gone, s)
			}
		}
		t.Logf("%s %s: %d ticks, missing %v", measurement, where, len(at), gone)
		if len(at) < 25 {
			t.Errorf("%s: only %d ticks", measurement, len(at))
		}
		return gone
	}
	dice, pydice := missing("dice", "value", "WHERE \"table\" = 'green'"), missing("dice", "value", "WHERE made_in = 'python'")
	builtIn := append(missing("mem", "used", ""), missing("cpu", "usage_idle", "WHERE cpu = 'cpu-total'")...)
	if len(dice) > 1 || len(pydice) > 1 {
		t.Errorf("killing a drop-in cost it the ticks %v and %v, more than one", dice, pydice)
	}
	seconds := map[int64]bool{}
	for _, s := range builtIn {
		seconds[s] = true
	}
	if len(seconds) > 1 {
		t.Errorf("killing the process of the built-in collectors cost them the ticks %v, more than one", builtIn)
	}
}

func TestNoPluginOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	c := newCluster(t, `plugin_directory = ["$DIR/plugins"]`, fourCollectors+"[[inputs.dice]]\n[[inputs.pydice]]\n")
	c.installPython(c.buildPlugin("dice", "./plugins/examples/dice"))
	c.startAgent()
	var pids map[string]int
	eventually(t, 20*time.Second, func() string {
		pids = c.pids()
		if pids["cpu"] == 0 || pids["dice"] == 0 || pids["pydice"] == 0 {
			return "not all plugins run yet"
		}
		return ""
	})
	c.agent.kill()
	eventually(t, 5*time.Second, func() string {
		for name, pid := range pids {
			if syscall.Kill(pid, 0) == nil && !zombie(pid) {
				return "the process of " + name + " still runs"
			}
		}
		return ""
	})
}

// zombie reports whether a process has ended and only waits to be reaped.
func zombie(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", itoa(pid)).Output()
	return err == nil && len(out) > 0 && out[0] == 'Z'
}
