package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatANodeTells(t *testing.T) {
	l := newLab(t, Config{Version: "v1.3.0"})
	l.write("10.0.0.7", `
system,host=a,site=x load1=0.5,load5=1,n_cpus=4i
system,host=a,site=x uptime=3600i
disk,host=a,site=x,path=/,fstype=ext4 total=1000i,used=400i,used_percent=42.5
disk,host=a,site=x,path=/data,fstype=ext4 total=2000i,used=1800i,used_percent=91
disk,host=a,site=x,path=/snap,fstype=squashfs total=10i,used=10i,used_percent=100
raspberrypi,host=a,site=x under_voltage=1i,frequency_capped=0i,throttled=1i,soft_temp_limit=0i
internal_plugin,host=a,site=x,_id=cpu,input=cpu state="ok",pid=1i
internal_plugin,host=a,site=x,_id=dice,input=dice state="failed",pid=0i
internal_gather,host=a,site=x,input=cpu errors=0i`)
	n := l.node("a")
	one := func(p *float64) string {
		if p == nil {
			return "unknown"
		}
		return fmt.Sprint(*p)
	}
	f := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	f("load", one(n.Load1), "0.5")
	f("cores", one(n.Cores), "4")
	f("uptime", one(n.UptimeSeconds), "3600")
	f("fullest disk", n.DiskPath+" "+one(n.DiskPercent)+" "+one(n.DiskUsedBytes)+" "+one(n.DiskTotalBytes), "/data 91 1800 2000")
	f("throttling", strings.Join(n.Throttling, ", "), "under-voltage, throttled")
	f("collectors", fmt.Sprint(n.Collectors), "[{cpu ok} {dice failed}]")
	f("tags", fmt.Sprint(n.Tags), "map[site:x]")
	f("client", n.Client, "vitals-agent/1.2.0 go1.26")
	f("outdated", fmt.Sprint(n.Outdated), "true")
	f("token", n.Token, "t1")
	f("new", fmt.Sprint(n.New), "false") // it may have been there before the relay was
}

func TestOutdated(t *testing.T) {
	f := func(client, version string, want bool) {
		t.Helper()
		if got := outdated(client, version); got != want {
			t.Errorf("%q beside %q: %v", client, version, got)
		}
	}
	f("vitals-agent/1.2.0 go1.26", "v1.3.0", true)
	f("vitals-agent/v1.3.0", "1.3.0", false)
	f("vitals-agent/1.10.0", "1.9.0", false)
	f("vitals-agent/1.2.0-3-gabc", "1.2.0", true) // a pre-release, as versions go
	f("vitals-agent/dev", "1.3.0", false)
	f("vitals-agent/1.2.0", "dev", false)
	f("Telegraf/1.2.0", "1.3.0", false)
	f("", "1.3.0", false)
}

func TestCollectorsOfATelegrafFailWhenTheirErrorsRise(t *testing.T) {
	l := newLab(t, Config{})
	f := func(errors int, want string) {
		t.Helper()
		l.write("10.0.0.7", fmt.Sprintf("internal_gather,host=a,input=cpu,alias=x errors=%di", errors))
		l.pass(10 * time.Second)
		if got := l.node("a").Collectors; len(got) != 1 || got[0] != (Collector{"cpu::x", want}) {
			t.Errorf("%v, want %s", got, want)
		}
	}
	f(5, "ok") // of before anybody looked
	f(6, "failing")
	f(6, "ok")
}

func TestClocks(t *testing.T) {
	f := func(name string, offset time.Duration, want float64) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Config{})
			for range 8 {
				l.writeAt("10.0.0.7", "mem,host=a used_percent=1", l.now.Add(offset))
				l.pass(10 * time.Second)
			}
			n := l.node("a")
			if got := n.ClockSkewSeconds; (got == nil) != (want == 0) || got != nil && *got != want {
				t.Errorf("%v, want %v", got, want)
			}
			if n.State != Up {
				t.Errorf("%s: what a clock says is no silence", n.State)
			}
		})
	}
	f("right", 0, 0)
	f("sent a while after it was read", -25*time.Second, 0)
	f("an hour behind", -time.Hour, -3600)
	f("an hour ahead", time.Hour, 3600)
	f("a little ahead", time.Second, 0)
}

func TestABacklogIsNoClockForLong(t *testing.T) {
	l := newLab(t, Config{})
	for i := range 5 {
		l.writeAt("10.0.0.7", "mem,host=a used_percent=1", start.Add(time.Duration(i-300)*10*time.Second))
		l.pass(10 * time.Second)
	}
	if l.node("a").ClockSkewSeconds == nil {
		t.Error("it cannot be told apart yet")
	}
	l.write("10.0.0.7", "mem,host=a used_percent=1")
	if got := l.node("a").ClockSkewSeconds; got != nil {
		t.Errorf("%v", *got)
	}
}

func TestTwoMachinesUnderOneName(t *testing.T) {
	f := func(name string, addresses []string, want []string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Config{})
			for _, address := range addresses {
				l.write(address, "mem,host=a used_percent=1")
				l.pass(5 * time.Second)
			}
			if d := cmp.Diff(want, l.node("a").Conflict); d != "" {
				t.Error(d)
			}
		})
	}
	repeat := func(n int, addresses ...string) []string { return slices.Repeat(addresses, n) }
	f("one", repeat(10, "10.0.0.1"), nil)
	f("a new address", append(repeat(10, "10.0.0.1"), repeat(10, "10.0.0.2")...), nil)
	f("two", repeat(5, "10.0.0.1", "10.0.0.2"), []string{"10.0.0.1", "10.0.0.2"})
	f("three", repeat(5, "10.0.0.3", "10.0.0.1", "10.0.0.2"), []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"})
	f("it is over", append(repeat(5, "10.0.0.1", "10.0.0.2"), repeat(20, "10.0.0.1")...), nil)
	f("addresses that are not known", repeat(5, "10.0.0.1", ""), nil)
}

func TestTwoMachinesBehindOneAddress(t *testing.T) {
	l := newLab(t, Config{})
	for i := range 4 {
		l.write("10.0.0.1", fmt.Sprintf("system,host=a uptime=%di", 5000+10*i))
		l.pass(5 * time.Second)
		l.write("10.0.0.1", fmt.Sprintf("system,host=a uptime=%di", 900+10*i))
		l.pass(5 * time.Second)
	}
	if d := cmp.Diff([]string{"10.0.0.1"}, l.node("a").Conflict); d != "" {
		t.Error(d)
	}
}

// A machine that stood still writes late what it read before, under the time at
// which it should have.
func TestAStandstillIsNoSecondMachine(t *testing.T) {
	l := newLab(t, Config{})
	for i, late := range []int{0, 0, 210, 0, 0, 210, 0, 0} {
		l.writeAt("10.0.0.1", fmt.Sprintf("system,host=a uptime=%di", 5000+10*i), l.now.Add(-time.Duration(late)*time.Second))
		l.pass(10 * time.Second)
	}
	if n := l.node("a"); n.Conflict != nil {
		t.Errorf("%q", n.Conflict)
	}
}

func TestTheRelaysOwnStandstillIsNoNodesFault(t *testing.T) {
	l := newLab(t, Config{})
	for range 10 {
		l.write("10.0.0.1", "mem,host=a used_percent=1")
		l.pass(time.Second)
	}
	l.judge(false)
	l.pass(10 * time.Minute) // in which nobody listened
	l.resume()
	l.judge(false)
	if n := l.node("a"); n.State != Late {
		t.Errorf("%s, though it had no chance to be heard", n.State)
	}
	l.pass(time.Minute)
	if n := l.node("a"); n.State != Down {
		t.Errorf("%s, a minute later", n.State)
	}
}

func TestWhatWasDownIsDownAfterARestart(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, Config{Directory: dir})
	l.write("10.0.0.1", "mem,host=gone used_percent=1")
	l.pass(time.Hour)
	l.write("10.0.0.2", "mem,host=there used_percent=1")
	l.save()
	l.pass(time.Hour)
	again := New(Config{Directory: dir, Now: func() time.Time { return l.now }})
	for name, want := range map[string]State{"gone": Down, "there": Late} {
		if n, err := again.Node(name); err != nil || n.State != want {
			t.Errorf("%s: %s, %v", name, n.State, err)
		}
	}
}

func TestReboots(t *testing.T) {
	f := func(name string, want bool, texts ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			l := newLab(t, Config{})
			for _, text := range texts {
				l.write("10.0.0.7", strings.ReplaceAll(text, "NOW", fmt.Sprint(l.now.Unix())))
				l.pass(time.Minute)
			}
			if n := l.node("a"); n.RebootedAt.IsZero() == want || n.Conflict != nil {
				t.Errorf("%v, %v", n.RebootedAt, n.Conflict)
			}
		})
	}
	f("uptime grows", false, "system,host=a uptime=100i", "system,host=a uptime=160i")
	f("uptime begins anew", true, "system,host=a uptime=100i", "system,host=a uptime=10i")
	f("the time of the boot is later", true, "node_info,host=a boot_time=1000i", "node_info,host=a boot_time=NOWi")
	f("its clock was set", false, "node_info,host=a boot_time=1000i", "node_info,host=a boot_time=5000i")
}

// A reading that nothing follows, while the node writes other things, says nothing
// of now. Whatever it had before it was down has its chance.
func TestWhatANodeSendsNoMoreIsNotShown(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, Config{Directory: dir})
	l.write("10.0.0.7", `
cpu,host=a,cpu=cpu-total usage_idle=50
mem,host=a used_percent=97,total=100i
system,host=a load1=3,uptime=100i
temp,host=a,sensor=cpu temp=90
disk,host=a,path=/ used_percent=99
raspberrypi,host=a throttled=1i
internal_plugin,host=a,_id=dice state="failed"`)
	l.pass(24 * time.Hour)
	shown := func() string {
		n := l.node("a")
		known := []bool{n.CPUPercent != nil, n.RAMPercent != nil, n.RAMTotalBytes != nil, n.Load1 != nil, n.UptimeSeconds != nil,
			n.TemperatureCelsius != nil, n.DiskPercent != nil, n.Throttling != nil, len(n.Collectors) > 0, len(n.CPUHistory) > 0}
		return fmt.Sprint(known)
	}
	write := func(span time.Duration) {
		for range span / time.Minute {
			l.write("10.0.0.7", "mem,host=a used_percent=50")
			l.pass(time.Minute)
		}
	}
	all, one := fmt.Sprint(slices.Repeat([]bool{true}, 10)), fmt.Sprint(slices.Concat([]bool{false, true}, make([]bool, 8)))
	if got := shown(); got != all {
		t.Errorf("of a node that is down: %s", got)
	}
	write(StaleAfter)
	if got := shown(); got != all {
		t.Errorf("of a node that is back: %s", got)
	}
	write(5 * time.Minute)
	if got := shown(); got != one {
		t.Errorf("after %s: %s", StaleAfter, got)
	}
	l.save()
	l = newLabAt(t, Config{Directory: dir}, l.now)
	if got := shown(); got != one {
		t.Errorf("after a restart: %s", got)
	}
}

func TestRetiredNodes(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, Config{Directory: dir})
	l.write("10.0.0.7", "mem,host=a used_percent=1")
	l.pass(time.Second)
	if err := l.Retire("a"); err != nil {
		t.Fatal(err)
	}
	if err := l.Retire("b"); err != ErrNoNode {
		t.Error(err)
	}
	l.pass(time.Hour)
	if n := l.node("a"); n.State != Retired {
		t.Error(n.State)
	}
	l.save()
	again := newLabAt(t, Config{Directory: dir}, l.now)
	if n := again.node("a"); n.State != Retired {
		t.Errorf("after a restart: %s", n.State)
	}
	again.write("10.0.0.7", "mem,host=a used_percent=1")
	if n := again.node("a"); n.State != Up {
		t.Errorf("when it writes again: %s", n.State)
	}
}

func TestEvents(t *testing.T) {
	l := newLab(t, Config{})
	l.write("10.0.0.7", "mem,host=old used_percent=1") // may have been there before
	l.judge(true)
	l.pass(time.Second)
	f := func(want string) {
		t.Helper()
		l.judge(false)
		if got := l.happened(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	_, more := l.Events(0)
	f("")
	l.write("10.0.0.8", "mem,host=a used_percent=1\nsystem,host=a uptime=500i")
	f("a new")
	select {
	case <-more:
	default:
		t.Error("who waits for more is not woken")
	}
	l.pass(10 * time.Second)
	l.write("10.0.0.8", "raspberrypi,host=a under_voltage=1i\nsystem,host=a uptime=1i\ninternal_plugin,host=a,_id=dice state=\"failed\"")
	f("a new, a rebooted, a throttled, a collectors")
	l.pass(time.Hour)
	f("a new, a rebooted, a throttled, a collectors, a down, old down")
	l.write("10.0.0.8", "mem,host=a used_percent=1")
	f("a new, a rebooted, a throttled, a collectors, a down, old down, a up")
	list, _ := l.Events(5)
	if len(list) != 2 || list[1].ID != 7 {
		t.Errorf("after the fifth: %+v", list)
	}
}

func TestEventsAreBounded(t *testing.T) {
	e := events{more: make(chan struct{})}
	for i := range 3 * maxEvents {
		e.add(start, "a", IsUp, fmt.Sprint(i))
	}
	if len(e.list) > maxEvents || e.list[len(e.list)-1].ID != 3*maxEvents {
		t.Errorf("%d events, the last %d", len(e.list), e.list[len(e.list)-1].ID)
	}
}

func TestPlacement(t *testing.T) {
	l := newLab(t, Config{})
	for range 30 {
		l.write("10.0.0.1", "cpu,host=idle,cpu=cpu-total usage_idle=95\nmem,host=idle total=4000000000i,available=3000000000i\nsystem,host=idle n_cpus=4i")
		l.write("10.0.0.2", "cpu,host=busy,cpu=cpu-total usage_idle=20\nmem,host=busy total=4000000000i,available=3500000000i\nsystem,host=busy n_cpus=4i")
		l.write("10.0.0.3", "cpu,host=small,cpu=cpu-total usage_idle=95\nmem,host=small total=500000000i,available=200000000i\nsystem,host=small n_cpus=4i")
		l.write("10.0.0.4", "cpu,host=hot,cpu=cpu-total usage_idle=95\nmem,host=hot total=4000000000i,available=3000000000i\nsystem,host=hot n_cpus=4i\ntemp,host=hot,sensor=cpu_thermal temp=82")
		l.write("10.0.0.5", "mem,host=Telegraf total=4000000000i,available=3000000000i")
		l.write("10.0.0.6", "cpu,node=cluster percentage=10,frequency=1500,temperature=50\nram,node=cluster free=700000000\nnode_info,node=cluster cores=4i,ram_total=1000000000i")
		l.write("10.0.0.7", "cpu,host=weak,cpu=cpu-total usage_idle=99\nmem,host=weak total=4000000000i,available=3000000000i\nsystem,host=weak n_cpus=4i\nraspberrypi,host=weak under_voltage=1i")
		l.pass(10 * time.Second)
	}
	l.write("10.0.0.8", "cpu,host=gone,cpu=cpu-total usage_idle=95")
	l.apply(Write{Body: []byte("mem,host=gone v=1\n"), Lines: 1, Received: start})
	var got []string
	for _, p := range l.Placement(Wish{CPUs: 1, RAMBytes: 500e6}) {
		got = append(got, fmt.Sprintf("%s %v: %s", p.Node, p.Fits, p.Reason))
	}
	want := []string{
		"idle true: 3.8 of 4 CPUs free, 3000 MB of RAM available",
		"cluster true: 3.6 of 4 CPUs free, 700 MB of RAM available",
		"Telegraf false: how many CPUs it has is not known: it sends neither system nor node_info",
		"busy false: too few CPUs: 0.8 of 4 CPUs free, 3500 MB of RAM available",
		"gone false: how many CPUs it has is not known: it sends neither system nor node_info",
		"hot false: it is hot: 82 °C",
		"small false: too little RAM: 3.8 of 4 CPUs free, 200 MB of RAM available",
		"weak false: it is slowed down: under-voltage",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	l.pass(time.Hour)
	if p := l.Placement(Wish{}); p[0].Fits || !strings.HasPrefix(p[0].Reason, "it is down") {
		t.Errorf("an hour later: %+v", p[0])
	}
}

// FuzzApply: no line brings the view down, and none makes a node of no name.
func FuzzApply(f *testing.F) {
	f.Add([]byte("cpu,cpu=cpu-total,host=a usage_idle=1 17\nmem,host=a used_percent=3 17\nsystem,host=a uptime=5i 17\n"), int64(1))
	f.Add([]byte("disk,host=a\\ b,path=/ used_percent=1e308 1\nnode_info,host=a\\ b boot_time=-9223372036854775808i 9223372036854775806\n"), int64(time.Second))
	f.Add([]byte("temp,host=a,sensor=x temp=NaN\nraspberrypi,node=b under_voltage=1e-320\ninternal_gather,host=a,input=x errors=1\n"), int64(0))
	f.Fuzz(func(t *testing.T, body []byte, unit int64) {
		v := New(Config{MaxNodes: 10, Now: func() time.Time { return start }})
		for i := range 3 {
			v.apply(Write{Body: body, Lines: 3, Received: start.Add(time.Duration(i) * time.Second), Unit: time.Duration(unit)})
		}
		v.judge(false)
		for _, n := range v.Nodes() {
			if n.Name == "" {
				t.Error("a node without a name")
			}
		}
		v.Placement(Wish{CPUs: 1})
	})
}
