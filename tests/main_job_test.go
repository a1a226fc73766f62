package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cluster is one node that is primary and secondary at once: agent, relay and
// InfluxDB.
type cluster struct {
	*machine
	db           *influxd
	relay, agent *process
	relayURL     string
	config       string
}

// fourCollectors is the input part of a node file in which every collector
// that this machine has a source for is asked at every tick.
const fourCollectors = `
[[inputs.cpu]]
[[inputs.ram]]
[[inputs.swap]]
[[inputs.temperature]]
`

func newCluster(t *testing.T, agentOptions, inputs string) *cluster {
	t.Helper()
	c := &cluster{machine: newMachine(t), db: newInfluxd(t)}
	// Virtual machines have no sensors; a tree stands in for them.
	zone := "sys/class/thermal/thermal_zone0/"
	c.file(zone+"type", "cpu-thermal\n")
	c.file(zone+"temp", "48312\n")
	c.env = append(c.env, "HOST_SYS="+filepath.Join(c.dir, "sys"))
	port := freePort(t)
	c.relayURL = fmt.Sprintf("http://127.0.0.1:%d", port)
	c.config = c.file("node.toml", fmt.Sprintf(`
[agent]
  interval = "%ds"
  flush_interval = "1s"
  hostname = "primary"
  buffer_directory = "$DIR/agent"
  %s
%s
[[outputs.influxdb]]
  urls = ["%s"]
  database = "node_vitals"
  skip_database_creation = true

[relay]
  listen = "127.0.0.1:%d"
  data_directory = "$DIR/relay"

[[relay.destinations]]
  name = "influxdb"
  url = "%s"
`, every, agentOptions, inputs, c.relayURL, port, c.db.url()))
	return c
}

func (c *cluster) startRelay() {
	c.t.Helper()
	c.relay = c.start("vitals-relay", "--config", c.config)
	eventually(c.t, 2*time.Minute, func() string {
		if status, body := get(c.t, c.relayURL+"/health"); status != 200 {
			return "relay: " + body
		}
		return ""
	})
}

func (c *cluster) startAgent() { c.agent = c.start("vitals-agent", "--config", c.config) }

// gathers waits until every input of the agent that runs has gathered something.
func (m *machine) gathers() {
	m.t.Helper()
	eventually(m.t, time.Minute, func() string {
		// The exit code tells whether all is well; here it need not be.
		out, _ := m.command("vitals-agent", "status", "--json").Output()
		var status struct {
			Inputs []struct {
				ID    string
				Lines int64 `json:"gathered_lines"`
			}
		}
		if err := json.Unmarshal(out, &status); err != nil {
			return err.Error()
		}
		for _, in := range status.Inputs {
			if in.Lines == 0 {
				return in.ID + " has gathered nothing"
			}
		}
		return ""
	})
}

// delivered waits until the relay has nothing left to deliver, however long that
// takes as long as it gets less.
func (c *cluster) delivered() {
	c.t.Helper()
	for before, left := int64(-1), int64(-1); left != 0; before = left {
		eventually(c.t, 3*time.Minute, func() string {
			var why string
			if left, why = c.backlog(); why == "" && before >= 0 && left >= before {
				why = fmt.Sprintf("the relay has a backlog of %d lines", left)
			}
			return why
		})
	}
}

// backlog is the number of lines that wait, for all destinations; it says why if
// it is not known.
func (c *cluster) backlog() (lines int64, why string) {
	_, body := get(c.t, c.relayURL+"/api/status")
	var status struct {
		Destinations []struct{ Backlog struct{ Lines int64 } }
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		return 0, fmt.Sprintf("%v: %s", err, body)
	}
	if len(status.Destinations) == 0 {
		return 0, "no destination: " + body
	}
	for _, d := range status.Destinations {
		lines += d.Backlog.Lines
	}
	return lines, ""
}

// arrivesAfter waits until a line is stored that was gathered after a moment: the
// agent gathers, and all that had waited before is sent.
func (c *cluster) arrivesAfter(moment time.Time) {
	c.t.Helper()
	eventually(c.t, 3*time.Minute, func() string {
		rows, err := c.db.tryQuery("node_vitals", fmt.Sprintf("SELECT used_percent FROM mem WHERE time > %d LIMIT 1", moment.UnixNano()))
		return unless(err == nil && len(rows) > 0, fmt.Sprintf("nothing is stored that was gathered after %v: %v", moment, err))
	})
}

// series are the readings of the four collectors, one field of each.
var series = []struct{ measurement, field, where string }{
	{"cpu", "usage_idle", "WHERE cpu = 'cpu-total'"},
	{"cpu", "usage_idle", "WHERE cpu = 'cpu0'"},
	{"mem", "used_percent", ""},
	{"swap", "total", ""},
	{"swap", "in", ""},
	{"temp", "temp", "WHERE sensor = 'cpu-thermal'"},
}

func TestEveryTickOfEveryCollectorArrivesOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", fourCollectors)
	c.db.start()
	c.startRelay()
	began := time.Now()
	c.startAgent()
	c.arrivesAfter(began)
	time.Sleep(60 * time.Second)
	c.agent.stop()
	lasted := int(time.Since(began).Seconds())
	c.delivered()
	for _, s := range series {
		what := s.measurement + "." + s.field + " " + s.where
		n := requireEveryTick(t, what, c.db.seconds("node_vitals", s.measurement, s.field, s.where), nil)
		if n < 60/every || n > lasted/every+1 {
			t.Errorf("%s: %d points in %d s at an interval of %d s", what, n, lasted, every)
		}
		t.Logf("%-45s %d points in %d s", what, n, lasted)
	}
	if hosts := c.db.query("node_vitals", `SHOW TAG VALUES WITH KEY = "host"`); len(hosts) == 0 || hosts[0][1] != "primary" {
		t.Errorf("host tag: %v", hosts)
	}
	requireNothingRejected(t, c.machine)
}

// requireNothingRejected fails if either program has set lines aside.
func requireNothingRejected(t *testing.T, m *machine) {
	t.Helper()
	filepath.WalkDir(m.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "/rejected/") {
			text, _ := os.ReadFile(path)
			t.Errorf("lines were set aside in %s: %s", path, tail(text, 500))
		}
		return nil
	})
}

func TestNoTickIsMissingAfterOutages(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", fourCollectors)
	c.db.start()
	c.startRelay()
	c.startAgent()
	c.arrivesAfter(time.Now())

	c.db.stop()
	time.Sleep(20 * time.Second)
	c.db.start()
	c.arrivesAfter(time.Now())

	c.relay.stop()
	time.Sleep(20 * time.Second)
	c.startRelay()
	c.arrivesAfter(time.Now())

	// While the relay is away, so that the restart finds a backlog.
	c.relay.stop()
	time.Sleep(3 * time.Second)
	down := time.Now().Unix()
	c.agent.stop()
	c.startAgent()
	c.gathers()
	up := time.Now().Unix()
	time.Sleep(3 * time.Second)
	c.startRelay()
	c.arrivesAfter(time.Now())

	c.agent.stop()
	c.delivered()
	for _, s := range series {
		what := s.measurement + "." + s.field + " " + s.where
		n := requireEveryTick(t, what, c.db.seconds("node_vitals", s.measurement, s.field, s.where),
			func(second int64) bool { return second >= down && second <= up })
		t.Logf("%-45s %d points; agent down between %d and %d", what, n, down, up)
	}
	requireNothingRejected(t, c.machine)
}
