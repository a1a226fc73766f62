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
	"path/filepath"
	"sync"
	"sync/atomic"
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
	// defaultBatchBytes is what a write may hold where nobody has said.
	defaultBatchBytes = 1 << 20
	// maxMemoryBytes is what memory holds at most, however few lines that are.
	maxMemoryBytes = 32 << 20
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
	Once      bool   // everything is sent in one attempt, Flush, or lost
	Host      string // gives flushes their place within flush_interval; empty: none
	UserAgent string
	Logger    *slog.Logger

	minFree int64 // of tests
}

// destination takes batches. An error leaves all of the batch to be sent again.
type destination interface {
	deliver(ctx context.Context, b batch, state *influx.Backoff) error
	sent() int64 // bytes, in vain or not
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
	now     chan struct{} // everything shall be sent
	tasks   chan func()   // for the goroutine that sends
	asked   atomic.Int32  // tasks that wait

	// Of the goroutine that sends.
	pace    pace
	ahead   spool.Frame // read, and in no batch yet, if isAhead
	isAhead bool
	ending  bool

	// moving is held while batches leave memory; it comes before mu.
	moving sync.Mutex

	mu       sync.Mutex
	memory   memory
	counts   counts
	paused   bool   // by the rate limit
	diskFull bool   // the spool has refused frames: memory is all there is
	spilled  uint64 // the frame of the batch that is being sent from memory
	again    uint64 // the last frame of the batch that has failed, which is tried again as it was
}

// Open makes an output and opens its buffer. A buffer that cannot be used is
// no error: the output then works from memory, and says so. One that another
// process uses is: two agents would write everything twice.
func Open(c Config) (*Output, error) {
	o := &Output{config: c, log: c.Logger.With("output", c.ID), wake: make(chan struct{}, 1), now: make(chan struct{}, 1), tasks: make(chan func())}
	o.counts.dropped = map[string]int64{}
	o.bound()
	if err := o.openSpool(); errors.Is(err, spool.ErrLocked) {
		return nil, fmt.Errorf("output %s: another vitals-agent seems to run with this buffer; stop it, or give this one a buffer_directory of its own: %w", c.ID, err)
	} else if err != nil {
		o.counts.buffer = err.Error()
		o.log.Warn("no buffer on disk: what cannot be sent is kept in memory only", "error", err, "lines", c.BufferLimit)
	}
	o.rejects = newRejects(o.directory(rejectedName))
	to, err := newDestination(c, o.reject)
	if err != nil {
		o.closeSpool()
		return nil, fmt.Errorf("output %s: %w", c.ID, err)
	}
	o.to = to
	return o, nil
}

// bound puts the bounds of the configuration into effect.
func (o *Output) bound() {
	c := &o.config
	c.BatchBytes = cmp.Or(c.BatchBytes, defaultBatchBytes)
	o.memory.limit, o.memory.batchLines = c.BufferLimit, min(c.BatchSize, c.BufferLimit)
	o.memory.batchBytes = int(min(c.BatchBytes, maxMemoryBytes/2))
	o.pace = pace{limit: c.RateLimit, period: c.RatePeriod}
}

// ID is the name of the output and of its buffer.
func (o *Output) ID() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.config.ID
}

// directory is a place below the output's buffer, or empty without one.
func (o *Output) directory(elem ...string) string {
	if o.spool == nil {
		return ""
	}
	return filepath.Join(append([]string{o.config.Directory, o.config.ID}, elem...)...)
}

func (o *Output) openSpool() error {
	if o.config.Directory == "" || o.config.Name == "discard" {
		return nil
	}
	s, err := spool.Open(spool.Config{
		Directory: filepath.Join(o.config.Directory, o.config.ID),
		MaxBytes:  o.config.BufferMaxBytes, DropOldest: true, MinFreeBytes: cmp.Or(o.config.minFree, minFreeBytes),
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
	if lines, n = o.filter(lines, n); n == 0 {
		return
	}
	o.mu.Lock()
	o.counts.added += int64(n)
	all := cut(lines, n, o.memory.batchLines, o.memory.batchBytes)
	o.mu.Unlock()
	if o.config.Disk && o.toDisk(ctx, all) {
		return
	}
	o.mu.Lock()
	full := o.memory.add(all, time.Now())
	over := o.memory.over()
	toDisk := over && o.spool != nil && !o.diskFull
	if over && !toDisk {
		o.drop(DroppedMemory, o.memory.trim())
	}
	o.mu.Unlock()
	if toDisk {
		o.spill(ctx)
	}
	if full || over {
		o.poke()
	}
}

// toDisk appends lines to the spool, unless memory holds older ones: the order
// is kept, and the writer brings those to the disk first.
func (o *Output) toDisk(ctx context.Context, all []piece) bool {
	o.mu.Lock()
	behind := o.spool == nil || o.memory.lines > 0
	enough := int64(o.config.BatchSize)
	o.mu.Unlock()
	if behind {
		return false
	}
	// Also what comes while the agent is told to stop shall be there.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	frames := make([]*spool.Frame, len(all))
	for i, p := range all {
		frames[i] = &spool.Frame{Lines: p.lines, RawBytes: int64(len(p.text)), Body: influx.Gzip(nil, p.text)}
	}
	err := o.spool.Append(ctx, frames...)
	o.disk(err)
	if err != nil {
		return false
	}
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

// drop counts lines that are given up. o.mu is held.
func (o *Output) drop(why string, lines int) {
	if lines == 0 {
		return
	}
	if o.counts.dropped[why] += int64(lines); !o.counts.dropping {
		o.counts.dropping = true
		o.log.Error("the oldest lines are dropped", "why", why, "lines", lines, "limit", o.config.BufferLimit)
	}
}

func (o *Output) poke() { signal(o.wake) }

// signal leaves a word in a channel of one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// FlushNow has everything sent as soon as possible, also if the time for the
// next attempt has not come.
func (o *Output) FlushNow() { signal(o.now) }

// Flush delivers everything there is, in one attempt, however long a rate
// limit makes that.
func (o *Output) Flush(ctx context.Context) error {
	for {
		wait, err := o.flush(ctx, true)
		if err != nil {
			return fmt.Errorf("output %s: %w", o.config.ID, err)
		}
		if wait == 0 {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("output %s: waiting for rate_limit: %w", o.config.ID, context.Cause(ctx))
		}
	}
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
