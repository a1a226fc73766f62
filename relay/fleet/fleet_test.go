package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rpicluster/vitals/internal/influx"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func num(v float64) *float64 { return &v }

// view applies texts, one a second from start on, and returns the view with
// its clock at the last of them.
func view(t *testing.T, texts ...string) *View {
	t.Helper()
	now := start
	v := New(Config{Now: func() time.Time { return now }})
	for i, text := range texts {
		now = start.Add(time.Duration(i) * time.Second)
		v.apply(Write{Body: []byte(text), Lines: strings.Count(text, "\n"), Address: "10.0.0.7", Received: now})
	}
	return v
}

func TestVitals(t *testing.T) {
	tests := []struct {
		name  string
		texts []string
		want  Node
	}{
		{"Telegraf's names", []string{
			"cpu,cpu=cpu0,host=a usage_idle=1 1\ncpu,cpu=cpu-total,host=a usage_idle=75.5,usage_user=20 1\n" +
				"mem,host=a total=1000i,used=250i,available=750i,used_percent=25 1\n" +
				"swap,host=a total=100i,used=10i,free=90i,used_percent=10 1\nswap,host=a in=5i,out=6i 1\n" +
				"temp,host=a,sensor=cpu_thermal temp=48.5 1\n",
		}, Node{
			CPUPercent: num(24.5), RAMUsedBytes: num(250), RAMAvailableBytes: num(750), RAMTotalBytes: num(1000), RAMPercent: num(25),
			SwapUsedBytes: num(10), SwapFreeBytes: num(90), SwapTotalBytes: num(100), SwapPercent: num(10),
			TemperatureCelsius: num(48.5), TemperatureSensor: "cpu_thermal", Lines: 6, CPUHistory: []float32{24.5},
		}},
		{"the cluster's names", []string{
			"cpu,node=a frequency=1500,percentage=12.5,temperature=51 1\nram,node=a free=600 1\nswap,node=a free=50 1\n" +
				"node_info,node=a ram_total=1000i,swap_total=100i,model=\"Pi 4\" 1\n",
		}, Node{
			CPUPercent: num(12.5), CPUMHz: num(1500), TemperatureCelsius: num(51), TemperatureSensor: "cpu",
			RAMAvailableBytes: num(600), RAMTotalBytes: num(1000), RAMUsedBytes: num(400), RAMPercent: num(40),
			SwapFreeBytes: num(50), SwapTotalBytes: num(100), SwapUsedBytes: num(50), SwapPercent: num(50),
			Facts: map[string]any{"ram_total": int64(1000), "swap_total": int64(100), "model": "Pi 4"},
			Lines: 4, CPUHistory: []float32{12.5},
		}},
		{"free alone is shown as free", []string{"ram,node=a free=600 1\n"}, Node{RAMAvailableBytes: num(600), Lines: 1}},
		{"no swap at all is nought percent", []string{"swap,host=a total=0i,used=0i,free=0i 1\n"}, Node{
			SwapUsedBytes: num(0), SwapFreeBytes: num(0), SwapTotalBytes: num(0), SwapPercent: num(0), Lines: 1,
		}},
		{"the CPU's sensor before a hotter one", []string{
			"temp,host=a,sensor=nvme_composite temp=70 1\ntemp,host=a,sensor=coretemp_core_0 temp=50 1\ntemp,host=a,sensor=coretemp_core_1 temp=52 1\n",
		}, Node{TemperatureCelsius: num(52), TemperatureSensor: "coretemp_core_1", Lines: 3}},
		{"else the hottest", []string{
			"temp,host=a,sensor=nvme temp=40 1\ntemp,host=a,sensor=acpitz temp=45 1\ntemp,host=a,sensor=broken temp=65261.85 1\n",
		}, Node{TemperatureCelsius: num(45), TemperatureSensor: "acpitz", Lines: 3}},
		{"later lines win, what they lack stays", []string{
			"cpu,cpu=cpu-total,host=a usage_idle=10 1\nmem,host=a used_percent=30 1\n", "cpu,cpu=cpu-total,host=a usage_idle=90 2\n",
		}, Node{CPUPercent: num(10), RAMPercent: num(30), Lines: 3, CPUHistory: []float32{90, 10}, IntervalSeconds: 1}},
		{"strange lines are only counted", []string{
			"cpu,cpu=cpu-total,host=a usage_idle=\"x\" 1\nweather,host=a v=1 1\nmem,host=a used=t 1\n",
		}, Node{Lines: 3}},
		{"an escaped name", []string{"m,host=a v=1 1\n"}, Node{Lines: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nodes := view(t, tt.texts...).Nodes()
			if len(nodes) != 1 {
				t.Fatalf("%d nodes", len(nodes))
			}
			tt.want.Name, tt.want.State, tt.want.Address = "a", Up, "10.0.0.7"
			if tt.want.IntervalSeconds == 0 {
				tt.want.IntervalSeconds = 10
			}
			ignore := cmpopts.IgnoreFields(Node{}, "FirstSeen", "LastSeen", "LinesPerMinute")
			if d := cmp.Diff(tt.want, nodes[0], ignore, cmpopts.EquateEmpty(), cmpopts.EquateApprox(0, 1e-9)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	v := view(t, "m,host=b,node=x v=1 1\nm,node=c v=1 1\nm v=1 1\nm,host=a\\ b\\,c v=1 1\nm,host="+strings.Repeat("n", 300)+" v=1 1\n")
	var names []string
	for _, n := range v.Nodes() {
		names = append(names, n.Name)
	}
	if d := cmp.Diff([]string{"a b,c", "b", "c"}, names); d != "" {
		t.Error(d)
	}
}

func TestStates(t *testing.T) {
	type arrivals []float64 // seconds
	tests := []struct {
		name     string
		limits   limits
		arrivals arrivals
		now      float64
		want     State
	}{
		{"just arrived", limits{}, arrivals{0}, 1, Up},
		{"one arrival, its rhythm unknown", limits{}, arrivals{0}, 24, Up},
		{"… late", limits{}, arrivals{0}, 26, Late},
		{"… down", limits{}, arrivals{0}, 66, Down},
		{"every second", limits{}, arrivals{0, 1, 2, 3}, 10, Up},
		{"… late", limits{}, arrivals{0, 1, 2, 3}, 11, Late},
		{"… down", limits{}, arrivals{0, 1, 2, 3}, 24, Down},
		{"every minute", limits{}, arrivals{0, 60, 120}, 240, Up},
		{"… late", limits{}, arrivals{0, 60, 120}, 250, Late},
		{"… down", limits{}, arrivals{0, 60, 120}, 440, Down},
		{"an outage teaches nothing", limits{}, arrivals{0, 1, 2, 3600, 3601}, 3609, Late},
		{"several writes of one flush", limits{}, arrivals{0, 0.05, 0.1, 10, 10.05, 20, 20.1}, 40, Up},
		{"fixed limits", limits{5 * time.Second, 8 * time.Second}, arrivals{0, 60}, 66, Late},
		{"… down", limits{5 * time.Second, 8 * time.Second}, arrivals{0, 60}, 69, Down},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
			now := start
			v := New(Config{LateAfter: tt.limits.lateAfter, DownAfter: tt.limits.downAfter, Now: func() time.Time { return now }})
			for _, s := range tt.arrivals {
				v.apply(Write{Body: []byte("m,host=a v=1 1\n"), Lines: 1, Received: at(s)})
			}
			now = at(tt.now)
			if got := v.Nodes()[0].State; got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestSilentWhileTheRelayWasAway(t *testing.T) {
	now := start
	v := New(Config{Now: func() time.Time { return now }})
	v.apply(Write{Body: []byte("m,host=a v=1 1\n"), Lines: 1, Received: start.Add(-time.Hour)})
	for _, step := range []struct {
		after time.Duration
		want  State
	}{{time.Second, Late}, {60 * time.Second, Late}, {2 * time.Minute, Down}} {
		now = start.Add(step.after)
		if got := v.Nodes()[0].State; got != step.want {
			t.Errorf("%s after the start: %s, want %s", step.after, got, step.want)
		}
	}
}

func TestBoundOfNodes(t *testing.T) {
	now := start
	v := New(Config{MaxNodes: 3, Now: func() time.Time { return now }})
	for n := range 10 {
		v.apply(Write{Body: fmt.Appendf(nil, "m,host=n%d v=1 1\n", n), Lines: 1, Received: now})
	}
	if len(v.Nodes()) != 3 || v.Stats().RefusedLines != 7 {
		t.Errorf("%d nodes, %+v", len(v.Nodes()), v.Stats())
	}
	now = start.Add(8 * 24 * time.Hour)
	v.apply(Write{Body: []byte("m,host=new v=1 1\n"), Lines: 1, Received: now})
	if nodes := v.Nodes(); len(nodes) != 1 || nodes[0].Name != "new" {
		t.Errorf("after a week of silence: %+v", nodes)
	}
}

func TestOfferNeverWaits(t *testing.T) {
	v := New(Config{})
	body := []byte(strings.Repeat("m,host=a v=1 1\n", 4000)) // 60 kB
	for range 10_000 {                                       // nobody runs the view
		v.Offer(Write{Body: body, Lines: 4000, Address: "10.0.0.1", Received: start})
	}
	if got := v.Stats().DroppedWrites; got != 10_000-waiting {
		t.Errorf("%d of 10000 writes were dropped", got)
	}
}

func TestBudget(t *testing.T) {
	var b budget
	taken := 0
	for range 5000 {
		taken += b.take(100_000, start)
	}
	if taken < bytesPerSecond || taken > bytesPerSecond+maxSample {
		t.Errorf("%d bytes were taken at once", taken)
	}
	if got := b.take(100, start); got != 0 {
		t.Errorf("%d bytes of an empty budget", got)
	}
	if got := b.take(100, start.Add(time.Second)); got != 100 {
		t.Errorf("%d bytes a second later", got)
	}
}

func TestRunAppliesWhatIsKeptAndWhatIsOffered(t *testing.T) {
	v := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	v.Offer(Write{Body: []byte("cpu,cpu=cpu-total,host=both usage_idle=50 1\n"), Lines: 1, Address: "10.0.0.1", Received: time.Now()})
	kept := func(ctx context.Context, fn func(Write) error) error {
		for i, text := range []string{
			"cpu,cpu=cpu-total,host=both usage_idle=1 1\nmem,host=both used_percent=7 1\n", "m,host=old v=1 1\n",
		} {
			if err := fn(Write{Body: influx.Gzip(nil, []byte(text)), Lines: 2, Received: time.Now().Add(time.Duration(i-10) * time.Minute)}); err != nil {
				return err
			}
		}
		return fn(Write{Body: []byte("not gzip"), Lines: 1, Received: time.Now()})
	}
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx, kept) }()
	deadline := time.Now().Add(2 * time.Minute)
	for len(v.Nodes()) < 2 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	nodes := v.Nodes()
	if len(nodes) != 2 || nodes[0].Name != "both" || nodes[1].Name != "old" {
		t.Fatalf("%+v", nodes)
	}
	if n := nodes[0]; *n.CPUPercent != 50 || *n.RAMPercent != 7 || n.Address != "10.0.0.1" {
		t.Errorf("what is kept replaced what is new: %+v", n)
	}
}

func TestInflateStopsAtALine(t *testing.T) {
	var r reader
	text := strings.Repeat("m,host=a v=1 1\n", 1000)
	got, err := r.inflate(influx.Gzip(nil, []byte(text)), 100)
	if err != nil || string(got) != text[:90] {
		t.Errorf("%q, %v", got, err)
	}
	got, err = r.inflate(influx.Gzip(nil, []byte(text)), len(text))
	if err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestCount(t *testing.T) {
	got := Count([]Node{{State: Up}, {State: Down}, {State: Late}, {State: Up}, {State: Retired}})
	if got != (Counts{Up: 2, Late: 1, Down: 1, Retired: 1}) {
		t.Errorf("%+v", got)
	}
}

func BenchmarkApply(b *testing.B) {
	v := New(Config{})
	body := []byte(strings.Repeat("cpu,cpu=cpu-total,host=a usage_user=1.5,usage_system=2.5,usage_idle=95,usage_nice=0 1700000000000000000\n", 100))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		v.apply(Write{Body: body, Lines: 100, Address: "10.0.0.1", Received: start})
	}
}

func TestForgottenNodesComeBackOnlyWhenTheyWrite(t *testing.T) {
	now := start
	dir := t.TempDir()
	open := func() *View { return New(Config{Now: func() time.Time { return now }, Directory: dir}) }
	names := func(v *View) string {
		var all []string
		for _, n := range v.Nodes() {
			all = append(all, n.Name)
		}
		return strings.Join(all, " ")
	}
	old := []byte("temp,host=a\\ b temp=40 1\nm,host=c v=1 1\ntemp,host=a\\ b temp=41 1\n")
	v := open()
	v.apply(Write{Body: old, Lines: 3, Received: now})
	now = now.Add(time.Minute)
	if err := v.Forget("a b"); err != nil {
		t.Fatal(err)
	}
	if err := v.Forget("a b"); !errors.Is(err, ErrNoNode) {
		t.Errorf("a second time: %v", err)
	}
	for i, v := range []*View{v, open()} { // the same, and one after a restart
		v.apply(Write{Body: old, Lines: 3, Received: start})
		if got := names(v); got != "c" {
			t.Errorf("%d: after the old lines: %q", i, got)
		}
		v.apply(Write{Body: []byte("m,host=a\\ b v=1 1\n"), Lines: 1, Received: now.Add(time.Second)})
		v.apply(Write{Body: old, Lines: 3, Received: start})
		if got := names(v); got != "a b c" || v.Nodes()[0].TemperatureCelsius != nil || v.Stats().RefusedLines != 0 {
			t.Errorf("%d: after new lines: %q, %+v", i, got, v.Nodes()[0])
		}
	}
}

func TestTheForgottenAreBounded(t *testing.T) {
	f := marks{path: filepath.Join(t.TempDir(), "f"), names: map[string]time.Time{}}
	for i := range maxMarks {
		f.names[fmt.Sprint(i)] = start.Add(time.Duration(i) * time.Second)
	}
	if err := f.add([]string{"new"}, start.Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := f.load(); err != nil || len(f.names) != maxMarks || !f.covers("new", start) || f.covers("0", time.Time{}) {
		t.Errorf("%v, %d names", err, len(f.names))
	}
	if err := os.WriteFile(f.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.load(); err == nil || len(f.names) != 0 {
		t.Errorf("a damaged file: %v", err)
	}
	if err := f.load(); err != nil {
		t.Errorf("it was not set aside: %v", err)
	}
}

func TestSilentNodesDropOut(t *testing.T) {
	now := start
	v := New(Config{Now: func() time.Time { return now }, ForgetAfter: time.Hour})
	v.apply(Write{Body: []byte("m,host=a v=1 1\n"), Lines: 1, Received: now})
	now = now.Add(time.Hour)
	v.apply(Write{Body: []byte("m,host=b v=1 1\n"), Lines: 1, Received: now})
	if n := v.Nodes(); len(n) != 2 {
		t.Errorf("%d nodes", len(n))
	}
	now = now.Add(time.Second)
	if n := v.Nodes(); len(n) != 1 || n[0].Name != "b" {
		t.Errorf("%+v", n)
	}
}
