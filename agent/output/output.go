// Package output gets lines to where they shall go: one buffer and one writer
// for every [[outputs.*]] table.
//
//	Append ─► open chunk ─► sealed batches ─► writer ─► destination
//	  │ disk strategy            │ a send failed,          ▲
//	  ▼                          ▼ too many, or stopping   │
//	spool ◄──────────────────────┘                         │
//	  └───────── what it holds is older, so it goes first ─┘
//
// A batch is compressed once, and its bytes never change after that. Under the
// memory strategy the disk is written only when something goes wrong, which is
// kind to SD cards; under the disk strategy Append returns when the lines are
// on it.
package output

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/spool"
)

const (
	// stopTimeout bounds how long an output tries to deliver when it stops.
	stopTimeout = 5 * time.Second
	// appendTimeout bounds how long a tick waits for a disk.
	appendTimeout = 10 * time.Second
	// maxBatchBytes seals a chunk of long lines before it has enough of them.
	maxBatchBytes = 1 << 20
	// commitDelay lets collectors of one tick share a sync.
	commitDelay = 20 * time.Millisecond
	// minFreeBytes is left to others on the file system of the buffer.
	minFreeBytes = 64 << 20
)

// Config says how an output buffers and sends.
type Config struct {
	config.Output
	Disk      bool   // buffer_strategy
	Directory string // of all outputs' buffers; empty: memory only
	MaxBytes  int64  // of the buffer on disk
	Once      bool   // everything is sent in one attempt, Flush, or lost
	UserAgent string
	Logger    *slog.Logger

	minFree int64 // of tests
}

// destination takes batches. An error leaves all of the batch to be sent again.
type destination interface {
	deliver(ctx context.Context, b batch, state *influx.Backoff) error
	url() string
	close()
}

// batch is lines that are being sent.
type batch struct {
	body   []byte // gzip
	raw    int64  // bytes of the lines themselves
	lines  int
	oldest time.Time
	seq    uint64 // of its last frame if it comes from the spool, else 0
}

// Output buffers and sends lines. It is safe for concurrent use.
type Output struct {
	config  Config
	to      destination
	log     *slog.Logger
	spool   *spool.Spool       // nil: memory only
	queue   *spool.Destination // what the spool holds for us
	rejects *rejects
	backoff influx.Backoff
	wake    chan struct{}
	changes chan change

	mu       sync.Mutex
	memory   memory
	counts   counts
	diskFull bool // the spool has refused frames: memory is all there is
}

// Open makes an output and opens its buffer. A buffer that cannot be used is
// no error: the output then works from memory, and says so. One that another
// process uses is: two agents would write everything twice.
func Open(c Config) (*Output, error) {
	o := &Output{config: c, log: c.Logger.With("output", c.ID), wake: make(chan struct{}, 1), changes: make(chan change)}
	o.memory.limit, o.memory.batchLines = c.BufferLimit, min(c.BatchSize, c.BufferLimit)
	if err := o.openSpool(); errors.Is(err, spool.ErrLocked) {
		return nil, fmt.Errorf("output %s: another vitals-agent seems to run with this buffer; stop it, or give this one a buffer_directory of its own: %w", c.ID, err)
	} else if err != nil {
		o.counts.buffer = err.Error()
		o.log.Warn("no buffer on disk: what cannot be sent is kept in memory only", "error", err, "lines", c.BufferLimit)
	}
	o.rejects = newRejects(o.directory("rejected"))
	to, err := newDestination(c, o.reject)
	if err != nil {
		o.closeSpool()
		return nil, fmt.Errorf("output %s: %w", c.ID, err)
	}
	o.to = to
	return o, nil
}

// directory is a place below the output's buffer, or empty without one.
func (o *Output) directory(elem ...string) string {
	if o.spool == nil {
		return ""
	}
	return filepath.Join(append([]string{o.config.Directory, o.config.ID}, elem...)...)
}

func (o *Output) openSpool() error {
	if o.config.Directory == "" {
		return nil
	}
	s, err := spool.Open(spool.Config{
		Directory: filepath.Join(o.config.Directory, o.config.ID),
		MaxBytes:  o.config.MaxBytes, DropOldest: true, MinFreeBytes: cmp.Or(o.config.minFree, minFreeBytes),
		CommitDelay: commitDelay, Logger: o.log,
	})
	if err != nil {
		return fmt.Errorf("open buffer: %w", err)
	}
	if o.queue, err = s.Destination(queueName); err != nil {
		_ = s.Close()
		return fmt.Errorf("open buffer: %w", err)
	}
	o.spool = s
	return nil
}

// queueName is the one destination of an output's spool. It is not the
// output's name, so that an alias may change together with its directory.
const queueName = "out"

func (o *Output) closeSpool() error {
	if o.spool == nil {
		return nil
	}
	return o.spool.Close()
}

// Append takes lines, each ended by a newline. Under the disk strategy it
// returns when they are on disk.
func (o *Output) Append(ctx context.Context, lines []byte, n int) {
	if n == 0 {
		return
	}
	if o.config.Disk && o.toDisk(ctx, lines, n) {
		return
	}
	o.mu.Lock()
	full := o.memory.add(lines, n, time.Now())
	over := o.memory.lines > o.memory.limit
	if over && (o.spool == nil || o.diskFull) {
		o.drop(o.memory.trim())
	}
	o.mu.Unlock()
	if full || over {
		o.poke()
	}
}

// toDisk appends lines to the spool, unless memory holds older ones: the order
// is kept, and the writer brings those to the disk first.
func (o *Output) toDisk(ctx context.Context, lines []byte, n int) bool {
	o.mu.Lock()
	behind := o.spool == nil || o.memory.lines > 0
	o.mu.Unlock()
	if behind {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	f := &spool.Frame{Lines: n, RawBytes: int64(len(lines)), Body: influx.Gzip(nil, lines)}
	err := o.spool.Append(ctx, f)
	o.disk(err)
	if err != nil {
		return false
	}
	o.mu.Lock()
	enough := int64(o.config.BatchSize)
	o.mu.Unlock()
	if o.queue.Backlog().Lines >= enough {
		o.poke()
	}
	return true
}

// disk remembers how the spool is, and tells of a change.
func (o *Output) disk(err error) {
	o.mu.Lock()
	was := o.diskFull
	o.diskFull = err != nil
	o.counts.buffer = ""
	if err != nil {
		o.counts.buffer = err.Error()
	}
	o.mu.Unlock()
	switch {
	case err != nil && !was:
		o.log.Error("the buffer on disk takes no more: lines are kept in memory", "error", err)
	case err == nil && was:
		o.log.Info("the buffer on disk works again")
	}
}

func (o *Output) drop(lines int) {
	if lines == 0 {
		return
	}
	o.counts.dropped += int64(lines)
	if !o.counts.dropping {
		o.counts.dropping = true
		o.log.Error("the buffer is full: the oldest lines are dropped", "limit", o.config.BufferLimit)
	}
}

func (o *Output) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, then delivers for a bounded time what there is,
// brings the rest to the disk, and closes the output.
func (o *Output) Run(ctx context.Context) error {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopTimeout, cancel) })()
	timer := time.NewTimer(0) // what an earlier run has left is sent at once
	defer timer.Stop()
	for ctx.Err() == nil {
		everything := false
		select {
		case <-ctx.Done():
			continue
		case to := <-o.changes:
			o.adopt(to)
			timer.Reset(0)
			continue
		case <-o.wake:
		case <-timer.C:
			everything = true
		}
		if failing := o.backoff.Failures() > 0; failing && !everything {
			o.spill(calls) // only the timer tries again
			continue
		}
		if err := o.flush(calls, everything); err != nil {
			timer.Reset(o.backoff.Next(err))
		} else if everything {
			timer.Reset(o.period())
		}
	}
	unsent := o.flush(calls, true)
	err := o.Close(context.WithoutCancel(ctx))
	if unsent != nil && err == nil {
		o.log.Info("not everything was sent; the rest waits for the next start", "error", unsent)
	}
	return err
}

func (o *Output) period() time.Duration {
	d := o.config.FlushInterval
	if o.config.FlushJitter > 0 {
		d += rand.N(o.config.FlushJitter)
	}
	return d
}

// Flush delivers everything there is, in one attempt.
func (o *Output) Flush(ctx context.Context) error {
	if err := o.flush(ctx, true); err != nil {
		return fmt.Errorf("output %s: %w", o.config.ID, err)
	}
	return nil
}

// Close brings what is left to the disk and closes the output. The error tells
// of lines that cannot be kept.
func (o *Output) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	o.spill(ctx)
	o.to.close()
	return errors.Join(o.closeSpool(), o.lost())
}
