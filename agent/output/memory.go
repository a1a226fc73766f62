package output

import (
	"slices"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
)

// memory holds lines that are in no spool: an open chunk that grows, and
// sealed batches, oldest first. It does no locking of its own.
type memory struct {
	limit, batchLines int

	open      []byte
	openLines int
	openSince time.Time
	sealed    []batch
	lines     int  // of all
	bytes     int  // of all
	sending   bool // sealed[0] is being sent
}

// add takes lines and reports whether a batch is full.
func (m *memory) add(lines []byte, n int, now time.Time) (full bool) {
	if m.openLines == 0 {
		m.openSince = now
	}
	m.open = append(m.open, lines...)
	m.openLines += n
	m.lines += n
	m.bytes += len(lines)
	if m.openLines >= m.batchLines || len(m.open) >= maxBatchBytes {
		m.seal()
		return true
	}
	return false
}

// seal closes the open chunk: from here on its bytes never change.
func (m *memory) seal() {
	if m.openLines == 0 {
		return
	}
	b := batch{body: slices.Clip(influx.Gzip(nil, m.open)), raw: int64(len(m.open)), lines: m.openLines, oldest: m.openSince}
	m.bytes += len(b.body) - len(m.open)
	m.sealed = append(m.sealed, b)
	if m.openLines = 0; cap(m.open) > 2*maxBatchBytes {
		m.open = nil
	}
	m.open = m.open[:0]
}

// first returns the oldest sealed batch, and seals what is open if that is all
// there is and everything is wanted.
func (m *memory) first(everything bool) (batch, bool) {
	if len(m.sealed) == 0 && everything {
		m.seal()
	}
	if len(m.sealed) == 0 {
		return batch{}, false
	}
	return m.sealed[0], true
}

// remove forgets the n oldest sealed batches.
func (m *memory) remove(n int) {
	for _, b := range m.sealed[:n] {
		m.lines -= b.lines
		m.bytes -= len(b.body)
	}
	m.sealed = slices.Delete(m.sealed, 0, n)
}

// trim drops the oldest batches until the limit is kept, and returns how many
// lines that cost. A batch under way stays.
func (m *memory) trim() (dropped int) {
	m.seal()
	keep := 0
	if m.sending {
		keep = 1
	}
	for m.lines > m.limit && len(m.sealed) > keep+1 {
		b := m.sealed[keep]
		m.sealed = slices.Delete(m.sealed, keep, keep+1)
		m.lines -= b.lines
		m.bytes -= len(b.body)
		dropped += b.lines
	}
	return dropped
}

// oldest is when the oldest line came; zero without any.
func (m *memory) oldest() time.Time {
	switch {
	case len(m.sealed) > 0:
		return m.sealed[0].oldest
	case m.openLines > 0:
		return m.openSince
	}
	return time.Time{}
}
