package alert

import (
	"context"
	"testing"
	"time"

	"github.com/rpicluster/vitals/relay/fleet"
)

// fuse ends an engine at one of its steps: whenever it looks at the clock, which
// is before each thing that it does, and before and after a message is taken.
type fuse struct{ steps, crashAt int }

type crashed struct{}

func (f *fuse) step() {
	if f.steps++; f.steps == f.crashAt {
		panic(crashed{})
	}
}

// fused is a phone that the engine may end before or after.
type fused struct {
	phone *phone
	fuse  *fuse
}

func (f fused) Send(ctx context.Context, messages []Message) error {
	f.fuse.step()
	err := f.phone.Send(ctx, messages)
	f.fuse.step()
	return err
}

// crashOnce lets a node go down and come up again, while the engine ends at one
// of its steps and is begun anew. It reports whether there was such a step.
func crashOnce(t *testing.T, at int) (messages []Message, didCrash bool) {
	l := newLab(t, rule(Down))
	l.nodes = []fleet.Node{node("pi-1")}
	l.pass(time.Second)
	f := &fuse{crashAt: at}
	l.config.Now = func() time.Time { f.step(); return l.now }
	l.config.Targets[0].Sender = fused{&l.phone, f}
	l.restart()
	second := func() {
		defer func() {
			if r := recover(); r != nil {
				if _, is := r.(crashed); !is {
					panic(r)
				}
				didCrash = true
				l.restart()
			}
		}()
		l.pass(time.Second)
	}
	for i := range 90 {
		switch i {
		case 15:
			l.nodes[0].State = fleet.Down
		case 60:
			l.nodes[0].State = fleet.Up
		}
		second()
	}
	return l.phone.got, didCrash
}

// Wherever the engine ends, everybody is told once that it fires and once that
// it is over. Between a message and the note of it a second one, with the same
// ID, cannot be helped.
func TestWhereverItEndsEachIsToldOnce(t *testing.T) {
	points, doubts := 0, 0
	for at := 2; ; at++ {
		messages, didCrash := crashOnce(t, at)
		if !didCrash {
			break
		}
		points++
		distinct := map[string]string{}
		for _, m := range messages {
			distinct[m.ID] = m.Status
		}
		count := map[string]int{}
		for _, status := range distinct {
			count[status]++
		}
		if count["firing"] != 1 || count["clear"] != 1 || len(messages) > 3 {
			t.Errorf("a crash at step %d: %+v", at, messages)
		}
		if len(messages) > 2 {
			doubts++
		}
	}
	t.Logf("%d crashes, %d of them between a message and its note", points, doubts)
	// Two messages, each with two steps before it is noted.
	if points < 100 || doubts != 4 {
		t.Errorf("%d crashes, %d of them between a message and its note", points, doubts)
	}
}
