package tests

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// hub is a primary: it has a relay with a key of its own, an InfluxDB, and packages.
type hub struct {
	*island
	relay *process
	run   string // the command that starts it
	admin string // a token for its API
}

// newHub makes a machine the primary, as vitals-relay init says, with its own
// agent if there is an InfluxDB.
func newHub(m *island, influx, agent string, packages ...string) *hub {
	m.t.Helper()
	p := &hub{island: m}
	m.bring(filepath.Join(root, "bin/vitals-relay"), "/usr/bin/vitals-relay")
	m.bring(agent, "/usr/bin/vitals-agent")
	for _, file := range packages {
		m.bring(file, "/usr/share/vitals/packages/"+filepath.Base(file))
	}
	start := regexp.MustCompile(`(?m)^  (vitals-(relay|agent) --config \S+)$`)
	said := m.must("vitals-relay init --influx " + influx)
	commands := start.FindAllStringSubmatch(said, -1)
	if len(commands) == 0 || commands[0][2] != "relay" {
		m.t.Fatalf("it does not say how to start the relay:\n%s", said)
	}
	p.run = commands[0][1]
	p.runs()
	said = m.must("vitals-relay init --influx " + influx)
	if commands = start.FindAllStringSubmatch(said, -1); len(commands) != 1 || commands[0][2] != "agent" {
		m.t.Fatalf("it does not say how to start the agent:\n%s", said)
	}
	if influx != "none" {
		m.start(commands[0][1])
	}
	p.admin = strings.TrimSpace(m.must("vitals-relay token create --role admin | head -n 1"))
	return p
}

// runs starts the relay.
func (p *hub) runs() {
	p.t.Helper()
	p.relay = p.island.start(p.run)
	eventually(p.t, 60*time.Second, func() string {
		out, _ := p.try("vitals-relay status")
		if !strings.Contains(out, "sha256//") {
			return out
		}
		return ""
	})
}

// invite is the line to paste, and the code.
func (p *hub) invite(flags string) (line, code string) {
	p.t.Helper()
	return inviteIn(p.t, p.must("vitals-relay invite "+flags))
}

// inviteIn reads both in what invite has printed.
func inviteIn(t *testing.T, out string) (line, code string) {
	t.Helper()
	out = strings.ReplaceAll(out, "\r", "")
	line = strings.TrimSpace(regexp.MustCompile(`(?m)^  curl .*$`).FindString(out))
	code = strings.TrimSpace(regexp.MustCompile(`(?m)^  [0-9A-Z]{4}(-[0-9A-Z]{4}){3}$`).FindString(out))
	if line == "" || code == "" {
		t.Fatalf("no line or no code in:\n%s", out)
	}
	return line, code
}

// nodes are those on the page, with their states.
func (p *hub) nodes() map[string]string {
	p.t.Helper()
	out := p.must(fmt.Sprintf("curl -fsSk -H 'Authorization: Bearer %s' https://127.0.0.1:8186/api/nodes", p.admin))
	var list []struct{ Name, State string }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	all := map[string]string{}
	for _, n := range list {
		all[n.Name] = n.State
	}
	return all
}

// paste types a line into a terminal on a machine, and the code when it is
// asked for, and returns all that the terminal has shown.
func (m *island) paste(line, code string) (shown string, exit int) {
	m.t.Helper()
	return pasted(m.t, m.command(line), code)
}

func pasted(t *testing.T, line *exec.Cmd, code string) (shown string, exit int) {
	t.Helper()
	p := onTerminal(t, line, 120, 40)
	eventually(t, 5*time.Minute, func() string {
		select {
		case <-p.done:
			return ""
		default:
		}
		if !strings.Contains(p.shown(), "(it is not shown)") {
			return "no code is asked for: " + p.shown()
		}
		return ""
	})
	enter := "\r"
	if code[0] < ' ' { // a key such as Ctrl-C
		enter = ""
	}
	p.typed(code + enter)
	p.requireEnded()
	shown = p.shown()
	if strings.Contains(strings.ReplaceAll(shown, "-", ""), strings.ReplaceAll(code, "-", "")) {
		t.Errorf("the code is shown: %s", shown)
	}
	return shown, p.cmd.ProcessState.ExitCode()
}

// startCommand is what join has said would start the agent.
func startCommand(t *testing.T, shown string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^  (vitals-agent --config \S+?)\r?$`).FindStringSubmatch(shown)
	if found == nil {
		t.Fatalf("it does not say how to start the agent:\n%s", shown)
	}
	return found[1]
}

// Three machines: InfluxDB and relay on one, by vitals-relay init; on each of the
// others, what the invite says is pasted into a terminal and the code typed.
func TestTheSecondNode(t *testing.T) {
	agent := agentAs(t, "v0.1.0")
	all := archipelago(t, "pi-1", "pi-2", "pi-3")
	began := time.Now()
	step := func(what string) {
		t.Logf("%6.1fs  %s", time.Since(began).Seconds(), what)
		began = time.Now()
	}
	all[0].influxd()
	step("InfluxDB runs on pi-1")
	p := newHub(all[0], "http://127.0.0.1:8086", agent, debianPackage(t, agent, "0.1.0", debianArch()))
	step("pi-1 is the primary: vitals-relay init, relay and agent run")
	line, code := p.invite("--uses 2 --tag site=attic")
	step("an invite for two machines")
	for _, m := range all[1:] {
		shown, exit := m.paste(line, code)
		if exit != 0 || !strings.Contains(shown, "stored its first lines") {
			t.Fatalf("%s: exit code %d\n%s", m.name, exit, shown)
		}
		step(m.name + " has pasted the line, and its first lines are stored")
		m.start(startCommand(t, shown))
	}
	eventually(t, 3*time.Minute, func() string {
		nodes := p.nodes()
		for _, m := range all {
			if nodes[m.name] != "up" {
				return fmt.Sprintf("%s is not up: %v", m.name, nodes)
			}
		}
		return ""
	})
	step("all three are on the page")
	eventually(t, 3*time.Minute, func() string {
		out := p.must(`curl -sS 'http://127.0.0.1:8086/query?db=node_vitals' --data-urlencode 'q=SELECT count(usage_idle), count(used_percent) FROM cpu, mem GROUP BY host, site'`)
		for _, m := range all {
			site := map[bool]string{false: "attic"}[m == all[0]]
			for _, name := range []string{"cpu", "mem"} {
				if series := fmt.Sprintf(`{"name":"%s","tags":{"host":"%s","site":"%s"}`, name, m.name, site); !strings.Contains(out, series) {
					return series + " is not in InfluxDB: " + out
				}
			}
		}
		return ""
	})
	step("their vitals are in InfluxDB")
}

// influxd runs an InfluxDB on the machine.
func (m *island) influxd() {
	m.t.Helper()
	m.start("env INFLUXDB_REPORTING_DISABLED=true INFLUXDB_MONITOR_STORE_ENABLED=false INFLUXDB_HTTP_LOG_ENABLED=false INFLUXDB_META_DIR=/run/influxdb/meta INFLUXDB_DATA_DIR=/run/influxdb/data INFLUXDB_DATA_WAL_DIR=/run/influxdb/wal influxd -config /dev/null")
	eventually(m.t, 60*time.Second, func() string {
		out, code := m.try("curl -fsS http://127.0.0.1:8086/ping")
		if code != 0 {
			return out
		}
		return ""
	})
}
