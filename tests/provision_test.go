package tests

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"
)

// policies describes the retention policies of a database: name, duration,
// replication and whether it is the default.
func (db *influxd) policies(database string) (string, error) {
	rows, err := db.tryQuery("", fmt.Sprintf("SHOW RETENTION POLICIES ON %q", database))
	if err != nil {
		return "", err
	}
	var all []string
	for _, r := range rows {
		all = append(all, fmt.Sprintf("%v %v %v %v", r[0], r[1], r[3], r[4]))
	}
	return strings.Join(all, "; "), nil
}

func TestProvisioning(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", "")
	c.appendConfig("\n[relay.provision]\n  prefix = \"site_a_\"\n")
	const want = "node_vitals_year_rp 8760h0m0s 3 true"

	// The relay is first and waits for InfluxDB.
	c.startRelay()
	time.Sleep(2 * time.Second)
	c.db.start()
	eventually(t, 3*time.Minute, func() string {
		got, err := c.db.policies("site_a_node_vitals")
		if err != nil || got != want {
			return fmt.Sprintf("%q, %v; want %q", got, err, want)
		}
		return ""
	})

	// Again, and nothing changes.
	c.relay.stop()
	c.startRelay()
	time.Sleep(3 * time.Second)
	if got, err := c.db.policies("site_a_node_vitals"); err != nil || got != want {
		t.Errorf("after a second start: %q, %v; want %q", got, err, want)
	}
	rows := c.db.query("", "SHOW DATABASES")
	var names []string
	for _, r := range rows {
		names = append(names, fmt.Sprint(r[0]))
	}
	if got := strings.Join(names, " "); got != "site_a_node_vitals" {
		t.Errorf("databases: %s", got)
	}
}

func TestADestinationAddedLaterGetsWhatWasKept(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", fourCollectors)
	text, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	without, destination, _ := strings.Cut(string(text), "[[relay.destinations]]")
	c.file("node.toml", without)
	c.startRelay()
	c.startAgent()
	eventually(t, 2*time.Minute, func() string {
		_, body := get(t, c.relayURL+"/api/nodes")
		return unless(strings.Contains(body, "primary"), "without a destination the nodes are not shown: "+body)
	})
	time.Sleep(8 * time.Second)
	c.relay.stop()
	stopped := time.Now().Unix()

	c.db.start()
	c.file("node.toml", without+"[[relay.destinations]]"+destination)
	c.startRelay()
	c.arrivesAfter(time.Now())
	c.agent.stop()
	c.delivered()
	at := c.db.seconds("node_vitals", "mem", "used", "")
	requireEveryTick(t, "mem", at, nil)
	maps.DeleteFunc(at, func(second int64, _ int) bool { return second >= stopped })
	if len(at) < 6/every {
		t.Errorf("%d ticks are stored from before it was added", len(at))
	}
}
