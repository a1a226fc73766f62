package collect

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

// An input that fails and works in turns is told of, and does not fill the log.
func TestAFlappingInputDoesNotFillTheLog(t *testing.T) {
	var log bytes.Buffer
	in := &instance{log: slog.New(slog.NewTextHandler(&log, nil)), group: &group{}}
	now := time.Now()
	fails := errors.New("no answer")
	for i := range 1000 {
		in.account(now.Add(time.Duration(i)*100*time.Millisecond), 0, 0, 0, fails)
		in.account(now.Add(time.Duration(i)*100*time.Millisecond), 0, 1, 0, nil)
	}
	if failed, again := strings.Count(log.String(), "gathering failed"), strings.Count(log.String(), "gathering again"); failed != 2*mostTurns || again != failed {
		t.Errorf("within 100 s told of %d times that it fails, of %d that it works", failed, again)
	}
	log.Reset()
	now = now.Add(100 * time.Second) // one that fails on is told of, if later
	for i := range 60 {
		in.account(now.Add(time.Duration(i)*time.Second), 0, 0, 0, fails)
	}
	if strings.Count(log.String(), "gathering failed") != 1 {
		t.Errorf("it fails on, and the log says: %s", log.String())
	}
}

// A process that has just been started is not taken for one that hangs because
// the one before it did not answer.
func TestOverrunsOfOneProcessAreNotThoseOfTheNext(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	in := &instance{log: log, group: &group{}, lines: newRefiner(config.Input{}, nil, nil, log)}
	for range 3 {
		in.settle(introduction{reply: &proto.ConfigureReply{}})
		for range maxOverruns - 1 {
			in.overran(nil, time.Now()) // one more, and it is killed
		}
	}
	if in.overruns != maxOverruns-1 {
		t.Error(in.overruns)
	}
}

// An input that waits for the process that it shared, when that is given up,
// waits for that of its own from then on.
func TestWhoWaitsForAProcessMovesWithTheInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		never := func(ctx context.Context, _ *trust.File) (*program.Process, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		shared, own := newGroup("shared", never, log), newGroup("own", never, log)
		in := &instance{log: log}
		in.join(shared)
		ctx, end := context.WithCancel(t.Context())
		go shared.run(ctx)
		want, got := program.Local(plugins.NewServer(log)), make(chan *program.Process, 1)
		go func() {
			_, p, _, _ := in.process(t.Context(), nil, true)
			got <- p
		}()
		synctest.Wait() // until it waits
		in.join(own)
		end()
		own.publish(want, nil, false)
		synctest.Wait()
		select {
		case p := <-got:
			if p != want {
				t.Error("another process")
			}
		default:
			t.Error("it waits for ever")
		}
	})
}
