package alert

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rpicluster/vitals/internal/glob"
	"github.com/rpicluster/vitals/relay/fleet"
)

// change puts other rules and targets in the place of the lab's.
func (l *lab) change(rules []Rule, targets []Target, kept ...string) {
	l.t.Helper()
	if err := l.Change(rules, targets, kept); err != nil {
		l.t.Fatal(err)
	}
}

// Other rules tell nobody anew of what fires, and end what they do not look at.
func TestOtherRules(t *testing.T) {
	hot := rule(RAM)
	hot.Above, hot.ClearBelow, hot.For = 50, 45, 0
	l := newLab(t, rule(Down), hot)
	l.nodes = []fleet.Node{node("pi-1"), node("pi-2"), node("pi-3")}
	l.nodes[0].State = fleet.Down
	l.nodes[1].RAMPercent, l.nodes[1].SwapPercent = of(90), of(99)
	l.nodes[2].RAMPercent = of(47)
	l.pass(time.Minute)
	l.expect("firing ram pi-2, firing down pi-1")

	targets := l.config.Targets
	hotter := hot
	hotter.Above, hotter.ClearBelow = 95, 85
	l.change([]Rule{rule(Down), hotter}, targets, "phone")
	l.pass(time.Minute)
	l.expect("") // pi-2 is between the two, as it would be if the file had said so before

	other := rule(Swap) // under the name of another kind
	other.Name, other.For = "ram", 0
	l.change([]Rule{rule(Down), other}, targets, "phone")
	l.pass(time.Second)
	l.expect("clear ram pi-2, firing ram pi-2")
	if a := l.Status().Firing[0]; a.Kind != Swap || a.Text != "swap 99 % used, more than 80 %" {
		t.Errorf("%+v", a)
	}

	only := rule(Down)
	only.Subjects = []string{"pi-2"}
	l.change([]Rule{only}, targets, "phone")
	l.pass(time.Second)
	if len(l.phone.got) != 2 || l.phone.got[0].Text != "pi-1: down is over, after 1m41s, as it is not watched any more" {
		t.Errorf("%+v", l.phone.got)
	}
	l.expect("clear down pi-1, clear ram pi-2")
	bad := rule(Down)
	bad.Subjects = []string{"["}
	if err := l.Change([]Rule{bad}, nil, nil); err == nil || len(l.Status().Targets) != 1 {
		t.Errorf("%v, %d targets", err, len(l.Status().Targets))
	}
}

// What another kind or another node has lasted counts for nothing.
func TestWhatLastsBeginsAnewWithAnotherRule(t *testing.T) {
	l := newLab(t, rule(RAM))
	l.nodes = []fleet.Node{node("pi-1")}
	l.nodes[0].RAMPercent, l.nodes[0].SwapPercent = of(99), of(99)
	l.pass(9 * time.Minute)
	f := func(r Rule, after time.Duration, want string) {
		t.Helper()
		l.change([]Rule{r}, l.config.Targets, "phone")
		l.pass(after)
		l.expect(want)
	}
	swap := rule(Swap)
	swap.Name = "ram"
	f(swap, 9*time.Minute, "")
	elsewhere := swap
	elsewhere.Subjects = []string{"pi-9"}
	f(elsewhere, 9*time.Minute, "")
	f(swap, 9*time.Minute, "")
	shorter := swap
	shorter.For = 5 * time.Minute
	f(shorter, time.Second, "firing ram pi-1")
}

// A new target is told what still holds, one that went nothing more, and one that
// was changed not again what it knows.
func TestOtherTargets(t *testing.T) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1")}
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	l.expect("firing down pi-1")
	var moved, mail phone
	targets := []Target{{Name: "phone", Kind: "webhook", Sender: &moved}, {Name: "mail", Kind: "command", Sender: &mail}}
	l.change(l.config.Rules, targets)
	l.pass(time.Second)
	if got := moved.heard() + "; " + mail.heard(); got != "; firing down pi-1" {
		t.Errorf("told: %s", got)
	}
	l.change(l.config.Rules, targets[1:], "mail")
	l.nodes[0].State = fleet.Up
	l.pass(time.Second)
	if got := moved.heard() + "; " + mail.heard() + "; " + l.phone.heard(); got != "; clear down pi-1; " {
		t.Errorf("told: %s", got)
	}
	l.pass(time.Second)
	if n := len(l.state.Alerts); n != 0 {
		t.Errorf("%d alerts are kept for who is not told any more", n)
	}
	g, err := glob.Compile("temp*")
	if err != nil {
		t.Fatal(err)
	}
	targets[1].Alerts = []*glob.Glob{g}
	l.change(l.config.Rules, targets)
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	if got := moved.heard() + "; " + mail.heard(); got != "firing down pi-1; " {
		t.Errorf("told: %s", got)
	}
}

// gated is a target that takes its time: as long as somebody holds the gate.
type gated struct {
	gate  chan struct{}
	asked atomic.Int32
}

func (g *gated) Send(ctx context.Context, _ []Message) error {
	g.asked.Add(1)
	select {
	case <-g.gate:
		return nil
	case <-ctx.Done():
		return Unsure{ctx.Err()}
	}
}

// What is being told while a target is changed is told to its end, and not a
// second time by the one that follows, at once or after a while.
func TestAMessageUnderWayIsNotToldAgain(t *testing.T) {
	f := func(name string, between []Target) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := &gated{gate: make(chan struct{})}, &gated{gate: make(chan struct{})}
				close(second.gate)
				down := node("pi-1")
				down.State = fleet.Down
				l := newLab(t, rule(Down))
				l.config.Now = time.Now
				l.config.Nodes = func() []fleet.Node { return []fleet.Node{down} }
				l.config.Targets[0].Sender = first
				l.restart()
				e := l.Engine
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); e.Run(ctx) }()
				time.Sleep(time.Minute)
				if n := first.asked.Load(); n != 1 {
					t.Fatalf("it was asked %d times", n)
				}
				if between != nil {
					l.change(l.config.Rules, nil)
				}
				l.change(l.config.Rules, []Target{{Name: "phone", Sender: second}})
				time.Sleep(time.Minute)
				if n := second.asked.Load(); n != 0 {
					t.Error("it is told while the one before may be, too")
				}
				close(first.gate)
				time.Sleep(time.Minute)
				if n := first.asked.Load() + second.asked.Load(); n != 1 {
					t.Errorf("it was told %d times", n)
				}
				if s := e.Status(); len(s.Firing) != 1 || len(s.Firing[0].Told) != 1 || s.Targets[0].Waiting != 0 {
					t.Errorf("%+v", s)
				}
				cancel()
				<-done
				l.change(l.config.Rules, nil) // too late, and no harm
			})
		})
	}
	f("at once", nil)
	f("after a while", []Target{})
}

// A clock that was ahead neither keeps an alert back nor lets one begin after its
// end.
func TestAClockThatIsSetBack(t *testing.T) {
	l := newLab(t, rule(RAM))
	l.nodes = []fleet.Node{node("pi-1")}
	l.nodes[0].RAMPercent = of(99)
	l.pass(5 * time.Minute)
	l.now = l.now.Add(-24 * time.Hour)
	l.started = l.now.Add(-time.Hour) // the program's own clock goes on
	l.pass(10*time.Minute + 2*time.Second)
	l.expect("firing ram pi-1")
	l.now = l.now.Add(-24 * time.Hour)
	l.started = l.now.Add(-time.Hour)
	l.nodes[0].RAMPercent = of(1)
	l.pass(time.Second)
	if len(l.phone.got) != 1 || l.phone.got[0].Time.Before(l.phone.got[0].Since) {
		t.Errorf("%+v", l.phone.got)
	}
	l.expect("clear ram pi-1")
}

// hasty is a target that cannot be reached, while the trouble passes.
type hasty struct{ pass func() }

func (h hasty) Send(context.Context, []Message) error {
	h.pass()
	return errors.New("connection refused")
}

// Who could not be told that it fires is not told that it is over.
func TestWhatPassesWhileItIsToldInVain(t *testing.T) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1")}
	l.targets[0].Sender = hasty{func() {
		l.nodes[0].State = fleet.Up
		if l.judge() {
			l.save()
		}
	}}
	l.nodes[0].State = fleet.Down
	l.pass(time.Minute)
	l.targets[0].Sender = &l.phone
	l.pass(time.Minute)
	l.expect("")
}
