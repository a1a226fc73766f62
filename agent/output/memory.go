package output

import (
	"slices"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/line"
)

// piece is lines that fit into one batch.
type piece struct {
	text  []byte
	lines int
}

// cut parts lines into pieces of at most so many lines and bytes. A line alone
// may be longer.
func cut(text []byte, n, maxLines, maxBytes int) []piece {
	if n <= maxLines && len(text) <= maxBytes {
		return []piece{{text, n}}
	}
	var all []piece
	start, lines := 0, 0
	for at := 0; at < len(text); {
		_, rest, _ := line.Cut(text[at:])
		next := len(text) - len(rest)
		if lines > 0 && (lines == maxLines || next-start > maxBytes) {
			all = append(all, piece{text[start:at], lines})
			start, lines = at, 0
		}
		lines++
		at = next
	}
	return append(all, piece{text[start:], lines})
}

// memory holds lines that are in no spool: an open chunk that grows, and
// sealed batches, oldest first. It does no locking of its own.
type memory struct {
	limit, batchLines int
	batchBytes        int

	open      []byte
	openLines int
	openSince time.Time
	sealed    []batch
	lines     int  // of all
	bytes     int  // of all
	sending   bool // sealed[0] is being sent
	tried     bool // sealed[0] has failed
	moving    int  // so many of sealed are being brought to the disk; none is dropped then
}

// add takes lines and reports whether a batch is full.
func (m *memory) add(all []piece, now time.Time) (full bool) {
	for _, p := range all {
		if m.openLines > 0 && (m.openLines+p.lines > m.batchLines || len(m.open)+len(p.text) > m.batchBytes) {
			m.seal()
			full = true
		}
		if m.openLines == 0 {
			m.openSince = now
		}
		m.open = append(m.open, p.text...)
		m.openLines += p.lines
		m.lines += p.lines
		m.bytes += len(p.text)
		if m.openLines >= m.batchLines || len(m.open) >= m.batchBytes {
			m.seal()
			full = true
		}
	}
	return full
}

// over reports whether there is more than memory may hold.
func (m *memory) over() bool { return m.lines > m.limit || m.bytes > maxMemoryBytes }

// seal closes the open chunk: from here on its bytes never change.
func (m *memory) seal() {
	if m.openLines == 0 {
		return
	}
	b := batch{body: slices.Clip(influx.Gzip(nil, m.open)), raw: int64(len(m.open)), lines: m.openLines, oldest: m.openSince}
	m.bytes += len(b.body) - len(m.open)
	m.sealed = append(m.sealed, b)
	if m.openLines = 0; cap(m.open) > 2*m.batchBytes {
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
// lines that cost. A batch under way stays, and so does the newest; while
// batches are being brought to the disk none is dropped.
func (m *memory) trim() (dropped int) {
	m.seal()
	for m.moving == 0 && m.over() && len(m.sealed) > m.fixed()+1 {
		dropped += m.dropOne()
	}
	return dropped
}

// dropBefore drops the batches whose oldest line came before then.
func (m *memory) dropBefore(then time.Time) (dropped int) {
	for m.moving == 0 && len(m.sealed) > m.fixed() && m.sealed[m.fixed()].oldest.Before(then) {
		dropped += m.dropOne()
	}
	return dropped
}

// fixed is how many of the oldest batches are under way.
func (m *memory) fixed() int {
	if m.sending {
		return 1
	}
	return 0
}

// dropOne drops the oldest batch that is not under way.
func (m *memory) dropOne() (lines int) {
	b := m.sealed[m.fixed()]
	m.sealed = slices.Delete(m.sealed, m.fixed(), m.fixed()+1)
	m.tried = m.tried && m.sending
	m.lines -= b.lines
	m.bytes -= len(b.body)
	return b.lines
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
