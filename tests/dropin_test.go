package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	c.gathers()
	time.Sleep(3 * every * time.Second)

	pids := c.pids()
	if pids["cpu"] != pids["ram"] || pids["dice"] == pids["cpu"] || pids["pydice"] == pids["cpu"] || pids["dice"] == 0 || pids["pydice"] == 0 {
		t.Errorf("built-in collectors share one process and drop-ins have their own; got %v", pids)
	}
	away := map[string]time.Duration{} // without a process
	for _, name := range []string{"dice", "pydice", "cpu"} {
		t.Logf("kill -9 %s, process %d", name, pids[name])
		killed := time.Now()
		if err := syscall.Kill(pids[name], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Minute, func() string {
			if now := c.pids()[name]; now == pids[name] || now == 0 {
				return fmt.Sprintf("%s has process %d, before it was killed %d", name, now, pids[name])
			}
			return ""
		})
		away[name] = time.Since(killed)
		time.Sleep(2 * every * time.Second)
	}
	c.agent.stop()
	c.delivered()
	if n := strings.Count(c.read("vitals-agent.log"), `msg="plugin ended, starting it again"`); n != 3 || strings.Count(c.read("vitals-agent.log"), " in=0s") != n {
		t.Errorf("each of three processes was not started again at once, but %d", n)
	}

	missing := func(measurement, field, where string) []int64 {
		at := c.db.seconds("node_vitals", measurement, field, where)
		first, last := int64(1<<62), int64(0)
		for s := range at {
			first, last = min(first, s), max(last, s)
		}
		var gone []int64
		for s := first; s < last; s += every {
			if at[s] == 0 {
				gone = append(gone, s)
			}
		}
		t.Logf("%s %s: %d ticks, missing %v", measurement, where, len(at), gone)
		if len(at) < 8 {
			t.Errorf("%s: only %d ticks", measurement, len(at))
		}
		return gone
	}
	// What is under way when a process is killed, and what would begin while there
	// is none.
	most := func(name string) int { return 1 + int(away[name]/(every*time.Second)) }
	dice, pydice := missing("dice", "value", "WHERE \"table\" = 'green'"), missing("dice", "value", "WHERE made_in = 'python'")
	builtIn := append(missing("mem", "used", ""), missing("cpu", "usage_idle", "WHERE cpu = 'cpu-total'")...)
	if len(dice) > most("dice") || len(pydice) > most("pydice") {
		t.Errorf("killing drop-ins, which were away for %v, cost them the ticks %v and %v", away, dice, pydice)
	}
	seconds := map[int64]bool{}
	for _, s := range builtIn {
		seconds[s] = true
	}
	if len(seconds) > most("cpu") {
		t.Errorf("killing the process of the built-in collectors, which was away for %v, cost them the ticks %v", away["cpu"], builtIn)
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
