package tests

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func (c *cluster) write(database, lines string) {
	c.t.Helper()
	resp, err := http.Post(c.relayURL+"/write?db="+database, "text/plain", strings.NewReader(lines))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("the relay answers %s: %s", resp.Status, text)
	}
}

func TestALineThatInfluxDBRefusesIsSetAside(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", "")
	c.db.start()
	c.startRelay()
	now := time.Now().UnixNano()
	c.write("d", fmt.Sprintf("m v=1i %d\n", now)) // from now on v is an integer
	c.delivered()
	var lines strings.Builder
	for i := range 100 {
		value := "2i"
		if i%25 == 10 {
			value = `"two"`
		}
		fmt.Fprintf(&lines, "m,n=%d v=%s %d\n", i, value, now+int64(i))
	}
	c.write("d", lines.String())
	c.write("d", fmt.Sprintf("after v=1 %d\n", now))
	c.delivered()

	if rows := c.db.query("d", "SELECT count(v) FROM m"); len(rows) != 1 || fmt.Sprint(rows[0][1]) != "97" {
		t.Errorf("stored: %v, want 97", rows)
	}
	if rows := c.db.query("d", "SELECT count(v) FROM after"); len(rows) != 1 || fmt.Sprint(rows[0][1]) != "1" {
		t.Errorf("what came after the refused lines: %v", rows)
	}
	files, err := filepath.Glob(filepath.Join(c.dir, "relay/rejected/influxdb/*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files of rejected lines: %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.Contains(got, "field type conflict") {
		t.Errorf("no reason is given:\n%s", got)
	}
	for i := 10; i < 100; i += 25 {
		if want := fmt.Sprintf("m,n=%d v=\"two\" %d\n", i, now+int64(i)); !strings.Contains(got, want) {
			t.Errorf("%s is not set aside:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "m,n="); n != 4 {
		t.Errorf("%d lines are set aside, want 4:\n%s", n, got)
	}
}

// Once what made InfluxDB refuse lines is mended, they are sent again.
func TestRefusedLinesAreSentAgain(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", "")
	c.db.start()
	c.startRelay()
	now := time.Now().UnixNano()
	c.write("d", fmt.Sprintf("m v=1i %d\n", now))
	c.delivered()
	c.write("d", fmt.Sprintf("m,n=1 v=\"one\" %d\nm,n=2 v=\"two\" %d\n", now, now))
	c.delivered()
	stdout, stderr, code := run(t, c.command("vitals-relay", "rejected", "retry", "influxdb"))
	if code != 1 || !strings.Contains(stdout, "0 lines stored, 2 refused again, 0 not tried") {
		t.Errorf("before it is mended: exit code %d\n%s%s", code, stdout, stderr)
	}
	c.db.query("d", "DROP MEASUREMENT m")
	stdout, stderr, code = run(t, c.command("vitals-relay", "rejected", "retry", "influxdb"))
	if code != 0 || !strings.Contains(stdout, "2 lines stored, 0 refused again, 0 not tried") {
		t.Errorf("after it is mended: exit code %d\n%s%s", code, stdout, stderr)
	}
	if rows := c.db.query("d", "SELECT count(v) FROM m"); len(rows) != 1 || fmt.Sprint(rows[0][1]) != "2" {
		t.Errorf("stored: %v, want 2", rows)
	}
	requireNothingRejected(t, c.machine)
}

func aNuisanceCostsOnlyItself(t *testing.T) {
	t.Parallel()
	c := newCluster(t, `plugin_directory = ["$DIR/plugins"]`, fourCollectors+`
[[inputs.nuisance]]
  alias = "hangs"
  does = "hang"
[[inputs.nuisance]]
  alias = "babbles"
  does = "nonsense"
  isolate = true
[[inputs.nuisance]]
  alias = "dies"
  does = "exit"
  isolate = true
`)
	c.buildPlugin("nuisance", "./tests/nuisance")
	c.db.start()
	c.startRelay()
	c.startAgent()
	eventually(t, 2*time.Minute, func() string {
		if n := len(c.db.seconds("node_vitals", "nuisance", "sound", "")); n < 18 {
			return fmt.Sprintf("%d ticks so far", n)
		}
		return ""
	})
	c.agent.stop()
	c.delivered()
	for _, s := range series {
		what := s.measurement + "." + s.field + " " + s.where
		if n := requireEveryTick(t, what, c.db.seconds("node_vitals", s.measurement, s.field, s.where), nil); n < 18 {
			t.Errorf("%s: only %d ticks beside nuisances", what, n)
		}
	}
	for _, row := range c.db.query("node_vitals", "SHOW MEASUREMENTS") {
		if name := fmt.Sprint(row[0]); strings.Contains(name, "nonsense") {
			t.Errorf("measurement %q was made of nonsense", name)
		}
	}
	requireNothingRejected(t, c.machine)
}
