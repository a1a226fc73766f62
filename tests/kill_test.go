package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// accepted is the set of numbers for which somebody has given his word.
type accepted struct {
	mu  sync.Mutex
	set map[int64]bool
}

// load writes batches of lines with unique numbers until stop is closed, and
// notes those of batches that were answered 204.
func load(url string, writer int64, stop <-chan struct{}, acc *accepted) {
	client := &http.Client{Timeout: 5 * time.Second}
	const perBatch = 20
	epoch := time.Now().Add(-time.Hour).UnixNano() // well inside the retention policy
	for next := writer << 32; ; next += perBatch {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		var body strings.Builder
		for n := next; n < next+perBatch; n++ {
			fmt.Fprintf(&body, "chk,writer=%d seq=%di %d\n", writer, n, epoch+n)
		}
		resp, err := client.Post(url+"/write?db=chk", "text/plain", strings.NewReader(body.String()))
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			continue
		}
		acc.mu.Lock()
		for n := next; n < next+perBatch; n++ {
			acc.set[n] = true
		}
		acc.mu.Unlock()
	}
}

// numbers returns every value of chk.seq that InfluxDB holds.
func (db *influxd) numbers(database string) map[int64]bool {
	db.m.t.Helper()
	got := map[int64]bool{}
	for _, row := range db.query(database, "SELECT seq FROM chk") {
		n, err := row[1].(json.Number).Int64()
		if err != nil {
			db.m.t.Fatalf("seq %v: %v", row[1], err)
		}
		got[n] = true
	}
	return got
}

func (a *accepted) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.set)
}

// awaitLoad waits until a hundred lines more are accepted than there were, so that
// it is a loaded program that is killed next, however busy the machine is.
func awaitLoad(t *testing.T, before int, accepted func() int) {
	t.Helper()
	eventually(t, 2*time.Minute, func() string {
		if n := accepted() - before; n < 100 {
			return fmt.Sprintf("only %d lines were accepted: that is no load", n)
		}
		return ""
	})
}

func (a *accepted) requireIn(t *testing.T, got map[int64]bool) {
	t.Helper()
	var lost []int64
	for n := range a.set {
		if !got[n] {
			lost = append(lost, n)
		}
	}
	if len(lost) > 0 {
		t.Errorf("%d of %d accepted lines are lost, such as %v", len(lost), len(a.set), lost[:min(5, len(lost))])
	}
}

func TestRelayKilledUnderLoad(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]string{"one write at a time": "", "a window of writes": "  in_flight = 4\n"} {
		t.Run(name, func(t *testing.T) { killUnderLoad(t, option) })
	}
}

func killUnderLoad(t *testing.T, option string) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c := newCluster(t, "", "")
	c.appendConfig(option)
	c.db.start()
	c.startRelay()

	acc := &accepted{set: map[int64]bool{}}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range int64(4) {
		writers.Go(func() { load(c.relayURL, w, stop, acc) })
	}
	const kills = 20
	for range kills {
		before := acc.count()
		time.Sleep(time.Duration(50+random.IntN(700)) * time.Millisecond)
		awaitLoad(t, before, acc.count)
		c.relay.kill()
		c.startRelay()
	}
	awaitLoad(t, acc.count(), acc.count)
	close(stop)
	writers.Wait()
	c.delivered()
	got := c.db.numbers("chk")
	acc.requireIn(t, got)
	requireNothingRejected(t, c.machine)
	t.Logf("%d kills, %d lines accepted, %d stored, 0 lost", kills, len(acc.set), len(got))
}

// buildPlugin builds a drop-in collector into a folder of the machine and
// returns that folder.
func (m *machine) buildPlugin(name, source string) string {
	m.t.Helper()
	dir := filepath.Join(m.dir, "plugins")
	build := exec.Command("go", "build", "-tags", "grpcnotrace", "-o", filepath.Join(dir, "vitals-plugin-"+name), source)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		m.t.Fatalf("build %s: %v\n%s", source, err, out)
	}
	return dir
}

func TestAgentKilledWithDiskBuffer(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c := newCluster(t, `buffer_strategy = "disk"
  plugin_directory = ["$DIR/plugins"]`, `
[[inputs.journal]]
  interval = "100ms"
  precision = "1ms"
  file = "$DIR/journal"
`)
	c.buildPlugin("journal", "./tests/journal")
	c.db.start()
	c.startRelay()
	const kills = 20
	for i := range kills {
		if i == kills/3 {
			c.relay.stop() // from here on the spool grows
		}
		if i == 2*kills/3 {
			c.startRelay()
		}
		before := len(strings.Fields(c.read("journal")))
		c.startAgent()
		time.Sleep(time.Duration(700+random.IntN(700)) * time.Millisecond)
		eventually(t, 2*time.Minute, func() string {
			return unless(len(strings.Fields(c.read("journal"))) >= before+2, "fewer than two gathers came to their end")
		})
		c.agent.kill()
	}
	c.startAgent()
	acc := &accepted{set: map[int64]bool{}}
	for _, l := range strings.Fields(c.read("journal")) {
		n, err := strconv.ParseInt(l, 10, 64)
		if err != nil {
			t.Fatalf("journal: %v", err)
		}
		acc.set[n] = true
	}
	// What waits is sent oldest first, so it is all there once something newer is.
	newest := slices.Max(slices.Collect(maps.Keys(acc.set)))
	eventually(t, 2*time.Minute, func() string {
		rows, err := c.db.tryQuery("node_vitals", fmt.Sprintf("SELECT seq FROM chk WHERE seq > %d LIMIT 1", newest))
		return unless(err == nil && len(rows) > 0, fmt.Sprintf("nothing of the last agent is stored: %v", err))
	})
	c.agent.stop()
	c.delivered()
	got := c.db.numbers("node_vitals")
	acc.requireIn(t, got)
	t.Logf("%d kills, %d ticks done, %d stored, 0 lost", kills, len(acc.set), len(got))
}
