package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// Frame is what is appended and read back: one body and what is known of it.
type Frame struct {
	Seq      uint64    // given by Append; unique for ever within one spool
	Key      string    // opaque to the spool, at most 1 KiB
	Lines    int       // lines in Body
	RawBytes int64     // inflated size of Body
	Received time.Time // given by Append when zero
	Body     []byte    // gzip, one or more members
}

// A frame on disk is an empty gzip member that says what follows, and then the
// body's own members. Numbers are little-endian, as everything in gzip is.
//
//	 0  ┌───────────────────────────────┐
//	    │ 1f 8b 08 04 00000000 00 ff    │ gzip: deflate, extra field, no time
//	10  │ length of the extra field     │
//	12  │ 'V' 'L', length of the rest   │
//	    ├───────────────────────────────┤
//	16  │ version                    1  │
//	17  │ seq                        8  │
//	25  │ received, unix ns          8  │
//	33  │ lines                      4  │
//	37  │ raw bytes                  8  │
//	45  │ body bytes                 4  │
//	49  │ CRC32C of the body         4  │
//	53  │ key                        k  │
//	53+k│ CRC32C of everything above 4  │
//	    ├───────────────────────────────┤
//	57+k│ 03 00, crc 0, size 0      10  │ nothing, deflated
//	    ├───────────────────────────────┤
//	67+k│ body: gzip members            │
//	    └───────────────────────────────┘
const (
	version    = 1
	markBytes  = 14 // up to and including 'V' 'L'
	extraAt    = 12
	fieldsAt   = 16
	keyAt      = 53
	frameBytes = keyAt + 4 + 10 // of a frame without key and body

	maxKey    = 1 << 10
	maxHeader = frameBytes + maxKey
	maxBody   = 1 << 30
	maxSeq    = 1<<63 - 1
)

var (
	errShort    = errors.New("frame is cut short")
	errNotFrame = errors.New("no frame")
	errBody     = errors.New("body does not match its checksum")
)

// The fixed bytes of a header; never written to.
var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	gzipHeader = []byte{0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0, 0, 0xff}
	nothing    = []byte{0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0}
)

// header is what a frame says of itself.
type header struct {
	seq      uint64
	received int64
	lines    uint32
	raw      int64
	body     uint32
	sum      uint32 // of the body
	key      []byte // aliases what was parsed
}

// size is the number of bytes before the body.
func (h *header) size() int64 { return int64(frameBytes + len(h.key)) }

// total is the number of bytes of the whole frame.
func (h *header) total() int64 { return h.size() + int64(h.body) }

// appendHeader appends everything of f's frame that comes before its body.
func appendHeader(b []byte, f *Frame, seq uint64, sum uint32) []byte {
	start := len(b)
	data := keyAt - fieldsAt + len(f.Key) + 4
	le := binary.LittleEndian
	b = append(b, gzipHeader...)
	b = le.AppendUint16(b, uint16(data+4))
	b = append(b, 'V', 'L')
	b = le.AppendUint16(b, uint16(data))
	b = append(b, version)
	b = le.AppendUint64(b, seq)
	b = le.AppendUint64(b, uint64(f.Received.UnixNano()))
	b = le.AppendUint32(b, uint32(f.Lines))
	b = le.AppendUint64(b, uint64(f.RawBytes))
	b = le.AppendUint32(b, uint32(len(f.Body)))
	b = le.AppendUint32(b, sum)
	b = append(b, f.Key...)
	b = le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, nothing...)
}

// parseHeader reads the header that b begins with. It answers errShort when
// more bytes could make b a header, errNotFrame when none could.
func parseHeader(b []byte) (h header, err error) {
	if n := min(len(b), len(gzipHeader)); !bytes.Equal(b[:n], gzipHeader[:n]) {
		return h, errNotFrame
	}
	if len(b) < fieldsAt {
		return h, errShort
	}
	le := binary.LittleEndian
	data := int(le.Uint16(b[14:]))
	key := data - (keyAt - fieldsAt) - 4
	if b[12] != 'V' || b[13] != 'L' || int(le.Uint16(b[10:])) != data+4 || key < 0 || key > maxKey {
		return h, errNotFrame
	}
	if len(b) < frameBytes+key {
		return h, errShort
	}
	end := keyAt + key
	if crc32.Checksum(b[:end], castagnoli) != le.Uint32(b[end:]) ||
		!bytes.Equal(b[end+4:end+4+len(nothing)], nothing) || b[16] != version {
		return h, errNotFrame
	}
	h = header{
		seq:      le.Uint64(b[17:]),
		received: int64(le.Uint64(b[25:])),
		lines:    le.Uint32(b[33:]),
		raw:      int64(le.Uint64(b[37:])),
		body:     le.Uint32(b[45:]),
		sum:      le.Uint32(b[49:]),
		key:      b[keyAt:end],
	}
	if h.seq == 0 || h.seq > maxSeq || h.body > maxBody || h.raw < 0 {
		return h, errNotFrame
	}
	return h, nil
}

// fill copies h into f; the body is the reader's business.
func (h *header) fill(f *Frame) {
	f.Seq = h.seq
	f.Lines = int(h.lines)
	f.RawBytes = h.raw
	f.Received = time.Unix(0, h.received)
	if f.Key != string(h.key) { // most frames carry the key of the one before
		f.Key = string(h.key)
	}
}

// findMark returns where in b the first thing that looks like a frame begins,
// or -1.
func findMark(b []byte) int {
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], gzipHeader)
		if i < 0 {
			return -1
		}
		at += i
		if len(b) < at+markBytes {
			return -1
		}
		if b[at+extraAt] == 'V' && b[at+extraAt+1] == 'L' {
			return at
		}
	}
}

// check says what keeps f from being appended. A body must not hold a frame's
// mark: after damage the reader looks for the next mark, and no sender may
// plant one there.
func (f *Frame) check() error {
	switch {
	case len(f.Key) > maxKey:
		return fmt.Errorf("key of %d bytes is longer than %d", len(f.Key), maxKey)
	case len(f.Body) > maxBody:
		return fmt.Errorf("body of %d bytes is larger than %d", len(f.Body), maxBody)
	case f.Lines < 0 || int64(f.Lines) > math.MaxUint32 || f.RawBytes < 0:
		return fmt.Errorf("%d lines of %d bytes are impossible", f.Lines, f.RawBytes)
	case !bytes.HasPrefix(f.Body, gzipHeader[:3]):
		return errors.New("body is not gzip")
	case findMark(f.Body) >= 0:
		return errors.New("body holds a frame of a spool; compress it again to make it sendable")
	}
	return nil
}

// bytes is the size of f's frame on disk.
func (f *Frame) bytes() int64 { return int64(frameBytes + len(f.Key) + len(f.Body)) }
