package output

import (
	"fmt"
	"maps"
	"time"
)

// Status is how one output is doing.
type Status struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Alias string `json:"alias,omitempty"`
	URL   string `json:"url"`
	State string `json:"state"`

	MemoryLines int64     `json:"memory_lines"`
	MemoryBytes int64     `json:"memory_bytes"`
	SpoolLines  int64     `json:"spool_lines"`
	SpoolBytes  int64     `json:"spool_bytes"`
	Oldest      time.Time `json:"oldest,omitzero"` // of the lines that wait
	// Buffer says why there is no buffer on disk; empty if there is one.
	Buffer string `json:"buffer_error,omitempty"`

	BufferLimit int64 `json:"buffer_limit"` // lines that memory may hold

	Added    int64 `json:"added_lines"`
	Written  int64 `json:"written_lines"`
	Batches  int64 `json:"written_batches"`
	Rejected int64 `json:"rejected_lines"`
	Dropped  int64 `json:"dropped_lines"`
	Filtered int64 `json:"filtered_lines"` // kept back by the output's filters
	Failures int64 `json:"failures"`
	Sent     int64 `json:"sent_bytes"` // in vain or not
	Attempts int64 `json:"attempts"`   // to write a batch
	// Spent is the time that all attempts together have taken.
	Spent time.Duration `json:"attempts_ns"`
	// DroppedBy says how many lines were dropped for each reason.
	DroppedBy map[string]int64 `json:"dropped_by,omitempty"`

	LastSuccess time.Time `json:"last_success,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// The states of an output.
const (
	StateStarting = "starting"
	StateOK       = "ok"
	StateFailing  = "failing"
)

// The reasons for which lines are dropped.
const (
	DroppedMemory = "metric_buffer_limit" // memory is full, and there is no disk to take more
	DroppedDisk   = "buffer_max_bytes"
	DroppedAge    = "buffer_max_age"
	DroppedPurge  = "buffer purge"
	DroppedReject = "refused for good, and could not be set aside"
)

// counts is what an output remembers for its Status.
type counts struct {
	added, written, batches, rejected, filtered, failures, attempts int64

	spent                    time.Duration
	dropped                  map[string]int64
	failing, dropping        bool
	lastSuccess, lastErrorAt time.Time
	failingSince             time.Time
	lastError                string
	buffer                   string
}

// attempted books one attempt to write.
func (o *Output) attempted(took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts.attempts++
	o.counts.spent += took
}

func (o *Output) delivered(b batch, took time.Duration) {
	o.backoff.Reset()
	o.mu.Lock()
	c := &o.counts
	was, since := c.failing, c.failingSince
	c.written += int64(b.lines)
	c.batches++
	c.failing, c.dropping = false, false
	c.lastSuccess = time.Now()
	o.mu.Unlock()
	if was {
		o.log.Info("writing again", "url", o.to.url(), "after", time.Since(since).Round(time.Second))
	}
	o.log.Debug("batch written", "lines", b.lines, "bytes", len(b.body), "took", took.Round(time.Millisecond))
}

// failed books a failure. The log is told when it begins and when its reason
// changes, not at every attempt.
func (o *Output) failed(err error) {
	o.mu.Lock()
	c := &o.counts
	c.failures++
	again := c.failing && c.lastError == err.Error()
	now := time.Now()
	if !c.failing {
		c.failing, c.failingSince = true, now
	}
	c.lastError, c.lastErrorAt = err.Error(), now
	o.mu.Unlock()
	if again || o.config.Once { // whoever makes the one attempt has the error
		return
	}
	if reason, lines := o.memoryOnly(); reason != "" {
		o.log.Warn("writing failed, it is tried again; lines wait in memory only, the oldest are dropped when there are too many",
			"url", o.to.url(), "error", err, "at_most", lines, "buffer", reason)
		return
	}
	o.log.Warn("writing failed; nothing is lost, it is tried again", "url", o.to.url(), "error", err)
}

// memoryOnly says why lines that cannot be sent are not on disk, and how many
// memory may hold. The reason is empty if they are.
func (o *Output) memoryOnly() (reason string, lines int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.noDisk(), o.memory.limit
}

// noDisk says why the disk takes no lines; empty if it does. o.mu is held.
func (o *Output) noDisk() string {
	if o.counts.buffer == "" && o.spool == nil {
		return "there is none on disk"
	}
	return o.counts.buffer
}

// lost tells of the lines that neither the destination nor the disk has taken.
func (o *Output) lost() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	what := "lines were not sent and are lost"
	if o.memory.lines == 1 {
		what = "line was not sent and is lost"
	}
	switch {
	case o.memory.lines == 0:
		return nil
	case o.config.Once:
		return fmt.Errorf("output %s: %d %s: they are sent once or not at all", o.config.ID, o.memory.lines, what)
	}
	return fmt.Errorf("output %s: %d %s; the buffer: %s", o.config.ID, o.memory.lines, what, o.noDisk())
}

// reject books lines that the destination will never take, and keeps them for
// somebody to look at. If it cannot, the log is all that is left of them: they
// must not hold up the others.
func (o *Output) reject(lines []byte, n int, reason string) {
	o.mu.Lock()
	o.counts.rejected += int64(n)
	o.counts.written -= int64(n) // the batch counts them when it is done
	o.mu.Unlock()
	if o.rejects.path() == "" {
		o.log.Error("lines were refused for good and are lost", "lines", n, "reason", reason, "first", oneLine(string(lines)))
		o.mu.Lock()
		defer o.mu.Unlock()
		o.counts.dropped[DroppedReject] += int64(n)
		return
	}
	o.log.Error("lines were refused for good", "lines", n, "reason", reason, "kept_in", o.rejects.path())
	if err := o.rejects.add(lines, reason, time.Now()); err != nil {
		o.log.Error("refused lines are lost", "error", err, "first", oneLine(string(lines)))
		o.mu.Lock()
		o.counts.dropped[DroppedReject] += int64(n)
		o.mu.Unlock()
	}
}

// Status tells how the output is doing.
func (o *Output) Status() Status {
	o.mu.Lock()
	c := o.counts
	s := Status{
		ID: o.config.ID, Name: o.config.Name, Alias: o.config.Alias, URL: o.to.url(), State: StateStarting,
		MemoryLines: int64(o.memory.lines), MemoryBytes: int64(o.memory.bytes), Oldest: o.memory.oldest(),
		Buffer: c.buffer, Written: c.written, Batches: c.batches, Rejected: c.rejected, Filtered: c.filtered, Sent: o.to.sent(),
		BufferLimit: int64(o.memory.limit), Added: c.added, Attempts: c.attempts, Spent: c.spent,
		Failures: c.failures, LastSuccess: c.lastSuccess, LastError: c.lastError, LastErrorAt: c.lastErrorAt,
		DroppedBy: maps.Clone(c.dropped),
	}
	queue := o.queue
	o.mu.Unlock()
	if queue != nil {
		b := queue.Backlog()
		s.SpoolLines, s.SpoolBytes = b.Lines, b.Bytes
		if b.DroppedLines > 0 {
			s.DroppedBy[DroppedDisk] = b.DroppedLines
		}
		if !b.Oldest.IsZero() {
			s.Oldest = b.Oldest
		}
	}
	for _, n := range s.DroppedBy {
		s.Dropped += n
	}
	switch {
	case c.failing:
		s.State = StateFailing
	case !c.lastSuccess.IsZero():
		s.State = StateOK
	}
	return s
}

// Held is how many lines have not been delivered.
func (o *Output) Held() int64 {
	s := o.Status()
	return s.MemoryLines + s.SpoolLines
}
