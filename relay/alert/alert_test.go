package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

// start is a Friday.
var start = time.Date(2026, 3, 6, 12, 0, 0, 0, time.UTC)

// lab is an engine with a clock, nodes and a target of its own.
type lab struct {
	*Engine
	t            *testing.T
	config       Config
	now          time.Time
	nodes        []fleet.Node
	destinations []deliver.Status
	phone        phone
	log          bytes.Buffer
}

// phone is a target that takes what it is sent, unless it has an error.
type phone struct {
	got []Message
	err error
}

func (p *phone) Send(_ context.Context, messages []Message) error {
	if p.err == nil {
		p.got = append(p.got, messages...)
	}
	return p.err
}

// heard is what the phone was told, as "firing down pi-1".
func (p *phone) heard() string {
	var all []string
	for _, m := range p.got {
		all = append(all, strings.TrimSpace(m.Status+" "+m.Alert+" "+m.Node+m.Destination))
	}
	p.got = nil
	return strings.Join(all, ", ")
}

func newLab(t *testing.T, rules ...Rule) *lab {
	t.Helper()
	l := &lab{t: t, now: start}
	l.config = Config{
		Rules: rules, Directory: t.TempDir(), Relay: "primary", ForgetAfter: 7 * 24 * time.Hour, Now: func() time.Time { return l.now },
		Nodes:        func() []fleet.Node { return slices.Clone(l.nodes) },
		Destinations: func() []deliver.Status { return slices.Clone(l.destinations) },
		Targets:      []Target{{Name: "phone", Kind: "webhook", Sender: &l.phone}},
		Logger:       slog.New(slog.NewTextHandler(&l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	l.restart()
	l.pass(time.Minute) // what is known of before the start is not judged
	return l
}

// restart ends the engine as kill -9 does and begins another.
func (l *lab) restart() {
	l.t.Helper()
	var err error
	if l.Engine, err = New(l.config); err != nil {
		l.t.Fatal(err)
	}
}

// pass lets time pass, in which all nodes that are up write.
func (l *lab) pass(d time.Duration) {
	for range int(d / time.Second) {
		l.now = l.now.Add(time.Second)
		for i := range l.nodes {
			if l.nodes[i].State == fleet.Up {
				l.nodes[i].LastSeen = l.now
			}
		}
		if l.judge() {
			l.save()
		}
		l.deliver()
	}
}

// deliver tells the targets until nothing is due, or it fails.
func (l *lab) deliver() {
	for _, t := range l.targets {
		for due := t.due(); len(due) > 0 && t.tell(l.t.Context(), due) == nil; due = t.due() {
		}
	}
}

// expect requires what was told since the last time.
func (l *lab) expect(want string) {
	l.t.Helper()
	if got := l.phone.heard(); got != want {
		l.t.Errorf("after %v it is told %q, not %q", l.now.Sub(start), got, want)
	}
}

func node(name string) fleet.Node {
	return fleet.Node{Name: name, State: fleet.Up, IntervalSeconds: 10}
}

func of(v float64) *float64 { return &v }

func rule(k Kind) Rule { return Defaults()[k] }

func TestADownNodeIsToldOnceAndWhenItIsUp(t *testing.T) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1"), node("pi-2")}
	l.pass(time.Minute)
	l.nodes[0].State = fleet.Late
	l.pass(time.Minute)
	l.expect("")
	l.nodes[0].State = fleet.Down
	l.pass(19 * time.Second)
	l.expect("") // its chance is not over
	l.pass(2 * time.Second)
	l.expect("firing down pi-1")
	l.pass(time.Hour)
	l.expect("")
	l.nodes[0].State = fleet.Up
	l.pass(time.Minute)
	l.expect("clear down pi-1")
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	l.expect("firing down pi-1")
	l.nodes[0].State = fleet.Retired
	l.pass(time.Minute)
	l.expect("clear down pi-1")
	l.pass(time.Hour)
	l.expect("")
}

func TestFiguresHaveToLastAndToFall(t *testing.T) {
	f := func(kind Kind, set func(n *fleet.Node, v float64)) {
		t.Helper()
		r := rule(kind)
		l := newLab(t, r)
		l.nodes = []fleet.Node{node("pi-1")}
		at := func(v float64, d time.Duration, want string) {
			t.Helper()
			set(&l.nodes[0], v)
			l.pass(d)
			l.expect(want)
		}
		name := string(kind) + " pi-1"
		at(r.Above, time.Hour, "")
		at(r.Above+1, r.For-time.Second, "")
		at(r.Above, time.Second, "") // begins anew
		at(r.Above+1, r.For-time.Second, "")
		at(r.Above+1, 2*time.Second, "firing "+name)
		at(r.Above-0.5, time.Hour, "")
		at(r.ClearBelow, time.Hour, "")
		at(r.Above+1, time.Hour, "")
		at(r.ClearBelow-1, time.Second, "clear "+name)
		at(r.ClearBelow, time.Hour, "")
	}
	f(Temperature, func(n *fleet.Node, v float64) { n.TemperatureCelsius = of(v) })
	f(RAM, func(n *fleet.Node, v float64) { n.RAMPercent = of(v) })
	f(Swap, func(n *fleet.Node, v float64) { n.SwapPercent = of(v) })
	f(Disk, func(n *fleet.Node, v float64) { n.DiskPath, n.DiskPercent = "/a%d", of(v) })
}

// What is not known any more, or of before the start, neither fires nor clears.
func TestWhatIsNotKnownChangesNothing(t *testing.T) {
	l := newLab(t, rule(Temperature), rule(Throttled), rule(Conflict))
	hot := node("pi-1")
	hot.TemperatureCelsius, hot.Throttling, hot.Conflict = of(90), []string{"under-voltage"}, []string{"10.0.0.1", "10.0.0.2"}
	l.nodes = []fleet.Node{hot}
	l.pass(10 * time.Minute)
	l.expect("firing throttled pi-1, firing conflict pi-1, firing temperature pi-1")
	l.nodes[0].TemperatureCelsius, l.nodes[0].Throttling = nil, nil
	l.pass(10 * time.Minute)
	l.expect("")
	cool := hot
	cool.TemperatureCelsius, cool.Throttling, cool.Conflict = of(40), []string{}, nil
	cool.State = fleet.Late
	l.nodes[0] = cool
	l.pass(10 * time.Minute)
	l.expect("")
	l.restart()
	l.nodes[0].State, l.nodes[0].IntervalSeconds = fleet.Up, 60
	l.pass(time.Minute - time.Second)
	l.expect("")
	l.pass(2 * time.Second)
	l.expect("clear throttled pi-1, clear temperature pi-1")
	l.pass(time.Hour)
	l.expect("clear conflict pi-1")
}

// What a node that is up has not sent for long will not be known again: somebody has
// taken its collector away.
func TestAFigureThatIsSentNoMore(t *testing.T) {
	l := newLab(t, rule(RAM), rule(Throttled))
	l.nodes = []fleet.Node{node("pi-1")}
	l.nodes[0].RAMPercent, l.nodes[0].Throttling = of(99), []string{"under-voltage"}
	l.pass(11 * time.Minute)
	l.expect("firing throttled pi-1, firing ram pi-1")
	l.restart()
	l.nodes[0].RAMPercent, l.nodes[0].Throttling = nil, nil
	l.pass(fleet.StaleAfter)
	l.expect("")
	l.nodes[0].State = fleet.Late
	l.pass(time.Minute)
	l.expect("")
	l.nodes[0].State = fleet.Up
	l.pass(2 * time.Second)
	if len(l.phone.got) == 0 || !strings.HasSuffix(l.phone.got[0].Text, ", as it is not watched any more") {
		t.Errorf("%+v", l.phone.got)
	}
	l.expect("clear throttled pi-1, clear ram pi-1")
}

func TestARestartOfTheMachine(t *testing.T) {
	l := newLab(t, rule(Rebooted))
	l.nodes = []fleet.Node{node("pi-1")}
	l.nodes[0].RebootedAt = l.now
	l.pass(30 * time.Second)
	l.expect("firing rebooted pi-1")
	l.nodes[0].RebootedAt = time.Time{}
	l.restart() // and the view does not know of it any more
	l.pass(time.Minute)
	l.nodes[0].RebootedAt = start.Add(time.Minute)
	l.pass(7 * time.Minute)
	l.nodes[0].RebootedAt = time.Time{}
	l.expect("")
	l.pass(3 * time.Minute)
	l.expect("clear rebooted pi-1")
}

func TestDestinations(t *testing.T) {
	l := newLab(t, rule(Backlog), rule(Held))
	l.destinations = []deliver.Status{{Name: "influxdb", State: deliver.Delivering}}
	d := &l.destinations[0]
	l.pass(time.Minute)
	d.State, d.Error = deliver.Failing, "connection refused"
	d.Backlog.Oldest, d.Backlog.Bytes = l.now, 100
	l.pass(10*time.Minute - time.Second)
	l.expect("")
	l.pass(2 * time.Second)
	if text := l.Status().Firing[0].Text; text != "its oldest lines have waited for 10m1s: connection refused" {
		t.Error(text)
	}
	l.expect("firing backlog influxdb")
	d.State, d.Error = deliver.Held, "401"
	l.pass(2 * time.Minute)
	l.expect("firing held influxdb")
	l.restart() // it is well until it has been tried
	d.State, d.Backlog.Oldest = deliver.Delivering, time.Time{}
	l.pass(time.Minute)
	l.expect("")
	d.LastDelivery, d.Backlog.Bytes = l.now, 0
	l.pass(time.Second)
	l.expect("clear backlog influxdb, clear held influxdb")
	d.State, d.Backlog.Bytes = deliver.Held, 1
	l.pass(2 * time.Minute)
	l.expect("firing held influxdb")
	l.destinations = nil
	l.restart()
	l.pass(time.Second)
	l.expect("clear held influxdb")
}

// What a proxy answers may be a page: the message is as short as those who are told
// take it.
func TestAMessageIsShort(t *testing.T) {
	l := newLab(t, rule(Held))
	l.destinations = []deliver.Status{{Name: "influxdb", State: deliver.Held, Error: "403 Forbidden: " + strings.Repeat("<p>zurück\n\t</p>", 2000)}}
	l.pass(2 * time.Minute)
	if len(l.phone.got) != 1 {
		t.Fatalf("%d messages", len(l.phone.got))
	}
	text := l.phone.got[0].Text
	if len(text) > 700 || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\t") || !strings.HasPrefix(text, "influxdb: it refuses writes until somebody acts: 403 Forbidden: <p>zurück </p>") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

func TestNobodyIsToldTwiceAcrossARestart(t *testing.T) {
	l := newLab(t, rule(Down), rule(RAM))
	l.nodes = []fleet.Node{node("pi-1")}
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	l.expect("firing down pi-1")
	nodes := l.nodes
	l.restart()
	l.nodes = nil // the view is empty at first
	l.pass(time.Minute)
	l.nodes = nodes
	l.nodes[0].State = fleet.Late // it may have its chance
	l.pass(time.Minute)
	l.nodes[0].State = fleet.Down
	l.pass(time.Hour)
	l.expect("")
	l.nodes[0].State = fleet.Up
	l.restart()
	l.pass(time.Minute)
	l.expect("clear down pi-1")
}

// How long something has lasted is known after a restart to a minute.
func TestWhatLastsGoesOnLastingAcrossARestart(t *testing.T) {
	l := newLab(t, rule(RAM))
	l.nodes = []fleet.Node{node("pi-1")}
	l.nodes[0].RAMPercent = of(99)
	l.pass(9 * time.Minute)
	l.save() // as once a minute
	l.restart()
	l.pass(62 * time.Second)
	l.expect("firing ram pi-1")
}

func TestWhatIsNoLongerWatchedIsOver(t *testing.T) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1"), node("pi-2")}
	l.nodes[0].State, l.nodes[1].State = fleet.Down, fleet.Down
	l.pass(time.Minute)
	l.expect("firing down pi-1, firing down pi-2")
	l.nodes = l.nodes[1:]
	l.pass(time.Hour)
	l.expect("")
	l.Forget("pi-1")
	l.pass(time.Second)
	l.expect("clear down pi-1")
	only := rule(Down)
	only.Subjects = []string{"other-*"}
	l.config.Rules = []Rule{only}
	l.restart()
	l.pass(time.Second)
	l.expect("clear down pi-2")
}

func TestPatternsOfNodes(t *testing.T) {
	r := rule(RAM)
	r.Subjects, r.For = []string{"site-a-*", "pi-?"}, 0
	l := newLab(t, r)
	for _, name := range []string{"site-a-7", "site-b-7", "pi-1", "pi-10"} {
		n := node(name)
		n.RAMPercent = of(99)
		l.nodes = append(l.nodes, n)
	}
	l.pass(time.Minute)
	l.expect("firing ram site-a-7, firing ram pi-1")
}

func TestSilence(t *testing.T) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1"), node("pi-2")}
	if _, err := l.Silence("pi-9", time.Hour); err == nil {
		t.Error("a node that is not there is silenced")
	}
	if names, err := l.Silence("pi-[1]", 2*time.Hour); err != nil || fmt.Sprint(names) != "[pi-1]" {
		t.Error(names, err)
	}
	l.restart()
	l.nodes[0].State, l.nodes[1].State = fleet.Down, fleet.Down
	l.pass(time.Minute)
	l.expect("firing down pi-2")
	if s := l.Status(); len(s.Silences) != 1 || len(s.Firing) != 2 || !s.Firing[0].Silenced || s.Firing[1].Silenced {
		t.Errorf("%+v", s)
	}
	l.pass(2 * time.Hour)
	l.expect("firing down pi-1")
	if _, err := l.Unsilence("pi-1"); err == nil {
		t.Error("what is not silenced is unsilenced")
	}
	// What was told is taken back although it is silent now.
	if _, err := l.Silence("pi-1", time.Hour); err != nil {
		t.Fatal(err)
	}
	l.nodes[0].State = fleet.Up
	l.pass(time.Second)
	l.expect("clear down pi-1")
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	l.expect("")
	if names, err := l.Unsilence("pi-*"); err != nil || fmt.Sprint(names) != "[pi-1]" {
		t.Error(names, err)
	}
	l.pass(time.Second)
	l.expect("firing down pi-1")
}

func TestQuietHours(t *testing.T) {
	l := newLab(t, rule(Down))
	hours, err := ParseHours([]string{"Mon-Fri 22:00-06:00"})
	if err != nil {
		t.Fatal(err)
	}
	l.config.Targets[0].Quiet = hours
	l.now = time.Date(2026, 3, 6, 21, 59, 0, 0, time.UTC)
	l.restart()
	l.nodes = []fleet.Node{node("pi-1"), node("pi-2")}
	l.pass(2 * time.Minute)
	l.nodes[0].State, l.nodes[1].State = fleet.Down, fleet.Down
	l.pass(time.Hour)
	l.nodes[1].State = fleet.Up
	l.pass(6 * time.Hour)
	l.expect("")
	l.pass(time.Hour)
	l.expect("firing down pi-1") // the other is up again, and nobody need know

	quiet := rule(Down)
	quiet.Quiet, _ = ParseHours([]string{"00:00-24:00"})
	l.config.Rules, l.config.Targets[0].Quiet = []Rule{quiet}, nil
	l.restart()
	l.nodes[0].State = fleet.Up
	l.pass(time.Hour)
	l.expect("")
}

// While somebody cannot be told, only the newest is kept.
func TestOnlyWhatStillHoldsIsTold(t *testing.T) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1"), node("pi-2")}
	l.phone.err = errors.New("connection refused")
	l.nodes[0].State, l.nodes[1].State = fleet.Down, fleet.Down
	l.pass(time.Minute)
	l.nodes[0].State = fleet.Up
	l.pass(time.Minute)
	l.phone.err = nil
	l.pass(time.Second)
	l.expect("firing down pi-2")
	l.phone.err = errors.New("connection refused")
	for range 50 { // comes and goes
		l.nodes[1].State = fleet.Up
		l.pass(10 * time.Second)
		l.nodes[1].State = fleet.Down
		l.pass(30 * time.Second)
	}
	l.restart()
	if n := len(l.state.Alerts); n != 2 {
		t.Errorf("%d alerts are kept", n)
	}
	l.phone.err = nil
	l.pass(time.Second)
	l.expect("clear down pi-2, firing down pi-2")
}

// Whoever may have been told that it fires is told that it is over.
func TestADoubtIsResolved(t *testing.T) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1")}
	l.phone.err = Unsure{errors.New("no answer in time")}
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	l.nodes[0].State = fleet.Up
	l.pass(time.Minute)
	l.restart()
	l.phone.err = nil
	l.pass(time.Second)
	l.expect("clear down pi-1")
	l.phone.err = Refused{"400"}
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	l.phone.err = nil
	l.pass(time.Minute)
	l.expect("") // it is not tried again
	if s := l.Status().Targets[0]; s.Refused != 1 || s.Waiting != 0 || s.Error == "" {
		t.Errorf("%+v", s)
	}
}

func TestADamagedStateIsSetAside(t *testing.T) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1")}
	path := filepath.Join(l.config.Directory, "alerts.json")
	if err := os.WriteFile(path, []byte(`{"alerts":[{"id":`), 0o600); err != nil {
		t.Fatal(err)
	}
	l.restart()
	if _, err := os.Stat(path + ".damaged"); err != nil || !strings.Contains(l.log.String(), "level=WARN") {
		t.Error(err, l.log.String())
	}
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	l.expect("firing down pi-1")
}

func TestHours(t *testing.T) {
	f := func(text, at string, want bool) {
		t.Helper()
		h, err := ParseHours([]string{text})
		if err != nil {
			t.Error(err)
			return
		}
		when, err := time.Parse("Mon 2 Jan 2006 15:04", at)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.cover(when); got != want {
			t.Errorf("%q at %s: %v", text, at, got)
		}
	}
	const friday, saturday, sunday, monday = "Fri 6 Mar 2026 ", "Sat 7 Mar 2026 ", "Sun 8 Mar 2026 ", "Mon 9 Mar 2026 "
	f("13:00-14:00", friday+"13:00", true)
	f("13:00-14:00", friday+"14:00", false)
	f("Mon-Fri 22:00-06:00", friday+"22:00", true)
	f("Mon-Fri 22:00-06:00", saturday+"05:59", true)
	f("Mon-Fri 22:00-06:00", saturday+"06:00", false)
	f("Mon-Fri 22:00-06:00", saturday+"23:00", false)
	f("Mon-Fri 22:00-06:00", monday+"05:00", false)
	f("sat,sunday 00:00-24:00", sunday+"23:59", true)
	f("sat,sunday 00:00-24:00", monday+"00:00", false)
	f("Sat-Mon 8:00-9:00", sunday+"08:30", true)
	for _, bad := range []string{"", "night", "Mon", "22:00", "22:00-22:00", "Mon-Fri 22-06", "Mo 1:00-2:00", "24:00-01:00", "1:00-25:00", "Mon Tue 1:00-2:00", "Mon, 1:00-2:00", "1:0-2:0", "-1:00-2:00"} {
		if _, err := ParseHours([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
