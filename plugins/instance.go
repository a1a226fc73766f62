package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"
)

// instance is one configured collector. Its readings take turns: whoever holds
// turn may call the collector, and a reading that outlives its deadline keeps
// it, so that the next one waits instead of running beside it.
type instance struct {
	collector Collector
	log       *slog.Logger
	turn      chan struct{}
	streaming chan struct{}
	batch     Batch // belongs to the holder of turn
	size      int   // of the last reply, likewise
	done      context.Context
	end       context.CancelFunc
}

func newInstance(c Collector, host string, log *slog.Logger) *instance {
	in := &instance{
		collector: c,
		log:       log,
		turn:      make(chan struct{}, 1),
		streaming: make(chan struct{}, 1),
		batch:     Batch{host: host, log: log},
	}
	in.done, in.end = context.WithCancel(context.Background())
	return in
}

// reply is what a reading came to.
type reply struct {
	lines []byte
	err   error
}

// prime takes the first reading, within ctx like any other.
func (in *instance) prime(ctx context.Context) error {
	p, ok := in.collector.(Primer)
	if !ok {
		return nil
	}
	r, err := in.inTurn(ctx, func() reply { return reply{err: guard(in.log, func() error { return p.Prime(ctx) })} })
	return errors.Join(r.err, err)
}

// gather takes a reading. The error it returns itself says that there was no
// reading in time.
func (in *instance) gather(ctx context.Context) (reply, error) {
	return in.inTurn(ctx, func() reply {
		in.batch.Reset()
		err := guard(in.log, func() error { return in.collector.Gather(ctx, &in.batch) })
		lines := in.batch.appendTo(make([]byte, 0, in.size))
		in.size = len(lines)
		return reply{lines, in.batch.join(err)}
	})
}

// inTurn runs read once it is its turn and returns when ctx ends even if read
// does not: a collector that hangs must not hang its caller too.
func (in *instance) inTurn(ctx context.Context, read func() reply) (reply, error) {
	select {
	case in.turn <- struct{}{}:
	case <-ctx.Done():
		return reply{}, fmt.Errorf("the previous reading has not ended: %w", ctx.Err())
	}
	result := make(chan reply, 1)
	go func() {
		defer func() { <-in.turn }()
		result <- read()
	}()
	select {
	case r := <-result:
		return r, nil
	case <-ctx.Done():
		return reply{}, fmt.Errorf("the reading has not ended: %w", ctx.Err())
	}
}

// stream runs the collector's Stream and hands every flush to send, until ctx
// ends or the instance does.
func (in *instance) stream(ctx context.Context, s Streamer, unit time.Duration, send func(reply) error) error {
	select {
	case in.streaming <- struct{}{}:
	default:
		return errors.New("this instance is being streamed already")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(in.done, cancel)()

	chunks, ended := make(chan reply), make(chan error, 1)
	go func() {
		defer func() { <-in.streaming }()
		ended <- guard(in.log, func() error { return in.runStream(ctx, s, unit, chunks) })
	}()
	for {
		select {
		case r := <-chunks:
			if err := send(r); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (in *instance) runStream(ctx context.Context, s Streamer, unit time.Duration, chunks chan<- reply) error {
	b := &Batch{host: in.batch.host, log: in.log, unit: unit}
	return s.Stream(ctx, b, func() error {
		lines, err := b.Bytes(), b.Err()
		if err != nil {
			in.log.Warn("points left out", "error", err)
		}
		r := reply{lines, errors.Join(b.failures...)}
		b.Reset()
		select {
		case chunks <- r:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// guard turns a panic of the collector into an error of this reading. It
// costs this instance a reading and the others nothing.
func guard(log *slog.Logger, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("collector panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("collector panicked: %v", p)
		}
	}()
	return call()
}

// release ends the instance: its stream at once, and the collector is closed
// as soon as no reading runs any more, which the channel tells.
func (in *instance) release() <-chan struct{} {
	in.end()
	over := make(chan struct{})
	go func() {
		defer close(over)
		in.turn <- struct{}{}
		in.streaming <- struct{}{}
		closer, ok := in.collector.(io.Closer)
		if !ok {
			return
		}
		if err := guard(in.log, closer.Close); err != nil {
			in.log.Warn("close", "error", err)
		}
	}()
	return over
}
