package alert

import (
	"fmt"
	"testing"
	"time"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

// What judging two thousand nodes costs, once.
func BenchmarkJudge(b *testing.B) {
	now := start
	var rules []Rule
	for _, k := range Kinds() {
		rules = append(rules, rule(k))
	}
	var nodes []fleet.Node
	for i := range 2000 {
		n := node(fmt.Sprintf("node-%04d", i))
		n.TemperatureCelsius, n.RAMPercent, n.SwapPercent, n.DiskPercent, n.Throttling = of(50), of(30), of(0), of(60), []string{}
		n.LastSeen = start.Add(time.Hour)
		nodes = append(nodes, n)
	}
	e, err := New(Config{
		Rules: rules, Directory: b.TempDir(), Now: func() time.Time { return now },
		Nodes: func() []fleet.Node { return nodes }, Destinations: func() []deliver.Status { return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		e.judge()
	}
}
