package deliver

import "github.com/rpicluster/vitals/relay/queue"

const (
	// defaultMaxBody is what InfluxDB 1.x takes.
	defaultMaxBody = 25_000_000
	maxBytes       = 8 << 20 // compressed
	maxLines       = 100_000
)

// limit bounds what is joined into one write. It shrinks while a destination
// does not answer in time and grows back when it does.
type limit struct {
	lines    int
	rawBytes int64
}

func newLimit(maxBody int64) limit { return limit{lines: maxLines, rawBytes: maxBody} }

func (l *limit) fits(a, b *queue.Batch) bool {
	return a.Target == b.Target && a.Lines+b.Lines <= l.lines &&
		a.RawBytes+b.RawBytes <= l.rawBytes && len(a.Body)+len(b.Body) <= maxBytes
}

func (l *limit) shrink() {
	l.lines, l.rawBytes = max(l.lines/2, 1000), max(l.rawBytes/2, 100_000)
}

func (l *limit) grow(maxBody int64) {
	l.lines, l.rawBytes = min(l.lines*2, maxLines), min(l.rawBytes*2, maxBody)
}
