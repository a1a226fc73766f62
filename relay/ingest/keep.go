package ingest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/relay/queue"
)

// stored is up to which size lines are wrapped as they are: compressing them
// would cost more than the bytes are worth.
const stored = 1 << 10

// batch makes what is kept of a body whose scan gave rep. A sound body is kept
// byte for byte, compressed as it came; of any other the sound lines are
// emitted anew, stamped and in nanoseconds.
func (q *request) batch(p *writeParams, rep line.Report, compressed bool, now time.Time) (*queue.Batch, error) {
	b := &q.kept
	*b = queue.Batch{Target: p.target, Lines: rep.Lines, RawBytes: int64(len(q.raw)), Received: now}
	if len(rep.Bad) > 0 || rep.Unstamped > 0 || p.precision > line.Second {
		// Stamps can make a body of short lines several times as large.
		size := int64(len(q.raw)) + int64(rep.Lines)*stampBytes
		if size > 3*q.handler.config.MaxBody {
			return nil, errTooLarge
		}
		if !q.charge(int(size)) {
			return nil, errBusy
		}
		stamp := now.Truncate(p.stampUnit).UnixNano()
		q.emitted = line.AppendSound(q.emitted[:0], q.raw, rep, p.precision, stamp)
		b.Target.Precision = line.Nanosecond.String()
		b.RawBytes = int64(len(q.emitted))
		b.Body = q.pack(q.emitted)
		return b, nil
	}
	if rep.Unterminated {
		b.RawBytes++
	}
	if compressed && bytes.Contains(q.body, extraHeader) {
		compressed = false // what it holds is packed anew
		q.body = append(q.body[:0], q.raw...)
	}
	switch {
	case compressed && rep.Unterminated:
		q.body = append(q.body, newlineMember...)
		fallthrough
	case compressed:
		b.Body = q.body
	case rep.Unterminated:
		q.body = append(q.body, '\n')
		fallthrough
	default:
		b.Body = q.pack(q.body)
	}
	return b, nil
}

// pack makes a gzip member of lines.
func (q *request) pack(lines []byte) []byte {
	if bytes.Contains(lines, extraHeader) {
		q.packed = appendApart(q.packed[:0], lines)
		return q.packed
	}
	if len(lines) <= stored {
		q.packed = appendStored(q.packed[:0], lines)
		return q.packed
	}
	q.sink.Reset()
	if q.deflate == nil {
		// Small tables: those of BestSpeed cost a small body more than its bytes,
		// and every request would hold them.
		q.deflate, _ = gzip.NewWriterLevel(&q.sink, gzip.StatelessCompression) // the level is valid
	} else {
		q.deflate.Reset(&q.sink)
	}
	q.deflate.Write(lines) // into memory: cannot fail
	q.deflate.Close()
	return q.sink.Bytes()
}

// extraHeader begins a gzip member with an extra field, such as the queue's own
// frames. What looks like one must not stand in the queue as it came.
var extraHeader = []byte{0x1f, 0x8b, 8, 4}

// appendApart appends lines as members that are cut wherever what they hold
// looks like the header of one.
func appendApart(dst, lines []byte) []byte {
	for len(lines) > 0 {
		n := min(len(lines), 32<<10)
		if i := bytes.Index(lines, extraHeader); i >= 0 {
			n = min(n, i+len(extraHeader)/2)
		}
		dst = appendStored(dst, lines[:n])
		lines = lines[n:]
	}
	return dst
}

// newlineMember is a gzip member that holds a newline: appended to a body, it
// ends the last line.
var newlineMember = appendStored(nil, []byte("\n"))

// appendStored appends a gzip member of one stored block, which holds at most
// 65535 bytes.
func appendStored(dst, lines []byte) []byte {
	const unixOS, finalStored = 3, 1
	dst = slices.Grow(dst, len(lines)+23)
	dst = append(dst, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, unixOS, finalStored)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(lines)))
	dst = binary.LittleEndian.AppendUint16(dst, ^uint16(len(lines)))
	dst = append(dst, lines...)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.ChecksumIEEE(lines))
	return binary.LittleEndian.AppendUint32(dst, uint32(len(lines)))
}
