package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"slices"
)

// cursor reads the frames of one segment file through a small window, so that
// many small frames cost one read and a large one costs two.
type cursor struct {
	sys   system
	file  *os.File
	low   uint64 // sequence numbers that belong here: low ≤ seq ≤ high
	high  uint64
	start int64 // offset of the window
	held  []byte
	room  [32 << 10]byte
}

// damage is a stretch of a segment that could not be read as a frame.
type damage struct {
	from, to int64
	cause    error
}

func (d *damage) Error() string {
	return fmt.Sprintf("bytes %d to %d: %v", d.from, d.to, d.cause)
}

func (d *damage) Unwrap() error { return d.cause }

// malformed reports whether err is about bytes that were read, and not about the
// disk, which may give them another time.
func malformed(err error) bool {
	return errors.Is(err, errShort) || errors.Is(err, errNotFrame) || errors.Is(err, errBody)
}

func openCursor(sys system, path string, low, high uint64) (*cursor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &cursor{sys: sys, file: f, low: low, high: high}, nil
}

func (c *cursor) Close() error { return c.file.Close() }

// peek returns n bytes at off, fewer only at limit, at the end of the file
// (io.EOF) and before a place that cannot be read.
func (c *cursor) peek(off int64, n int, limit int64) ([]byte, error) {
	n = int(min(int64(n), limit-off))
	if b := c.window(off); len(b) >= n {
		return b[:n], nil
	}
	size := min(int64(len(c.room)), limit-off)
	got, err := c.sys.ReadAt(c.file, c.room[:size], off)
	c.start, c.held = off, c.room[:got]
	if got >= n {
		return c.held[:n], nil
	}
	return c.held, err
}

// window returns the bytes already read from off on.
func (c *cursor) window(off int64) []byte {
	if at := off - c.start; at >= 0 && at < int64(len(c.held)) {
		return c.held[at:]
	}
	return nil
}

// header reads the header at off.
func (c *cursor) header(off, limit int64) (header, error) {
	b, failed := c.peek(off, maxHeader, limit)
	h, err := parseHeader(b)
	switch {
	case err == nil && (h.seq < c.low || h.seq > c.high):
		return h, errNotFrame
	case err == nil && off+h.total() > limit:
		return h, errShort
	case errors.Is(err, errShort) && failed != nil && failed != io.EOF:
		return h, failed
	}
	return h, err
}

// body reads and checks the body of the frame h at off.
func (c *cursor) body(h *header, off int64, f *Frame) error {
	n := int(h.body)
	f.Body = slices.Grow(f.Body[:0], n)[:n]
	at := off + h.size()
	got := copy(f.Body, c.window(at))
	if got < n {
		_, err := c.sys.ReadAt(c.file, f.Body[got:], at+int64(got))
		if errors.Is(err, io.EOF) {
			return errShort
		}
		if err != nil {
			return err
		}
	}
	if crc32.Checksum(f.Body, castagnoli) != h.sum {
		return errBody
	}
	return nil
}

// read reads the frame at off into f; with f nil, or when the frame's seq is
// not above after, only its header. A *damage says where to go on; any other
// error is the disk's and may pass.
func (c *cursor) read(off, limit int64, after uint64, f *Frame) (header, error) {
	h, err := c.header(off, limit)
	if err == nil && f != nil && h.seq > after {
		h.fill(f)
		err = c.body(&h, off, f)
	}
	if malformed(err) {
		err = c.skip(off, limit, err)
	}
	return h, err
}

// skip describes the damage at off by looking for the next header.
func (c *cursor) skip(off, limit int64, cause error) *damage {
	return &damage{from: off, to: c.resync(off+1, limit), cause: cause}
}

// resync returns the offset of the next header from off on, or limit. Places
// that cannot be read are stepped over.
func (c *cursor) resync(off, limit int64) int64 {
	const page = 4 << 10
	for off < limit {
		b, _ := c.peek(off, len(c.room), limit)
		i := findMark(b)
		switch {
		case len(b) == 0:
			off = (off/page + 1) * page
		case i >= 0:
			off += int64(i)
			if _, err := c.header(off, limit); err == nil {
				return off
			}
			off++
		default: // the mark may begin in the last bytes
			off += int64(max(1, len(b)-markBytes+1))
		}
	}
	return limit
}

// walk reads every frame up to limit: visit gets each sound one with its
// offset, bad every damage. What cannot be read counts as damage.
func (c *cursor) walk(limit int64, f *Frame, visit func(h header, off int64) error, bad func(*damage)) error {
	for off := int64(0); off < limit; {
		h, err := c.read(off, limit, 0, f)
		if err == nil {
			if err := visit(h, off); err != nil {
				return err
			}
			off += h.total()
			continue
		}
		d, ok := errors.AsType[*damage](err)
		if !ok {
			d = c.skip(off, limit, err)
		}
		bad(d)
		off = d.to
	}
	return nil
}

// anySeq bounds a cursor whose segment has no successor.
const anySeq = math.MaxUint64
