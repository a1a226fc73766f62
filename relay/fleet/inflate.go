package fleet

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// reader inflates the beginnings of bodies, one after the other.
type reader struct {
	zr  *gzip.Reader
	src bytes.Reader
	buf []byte
}

// inflate returns the whole lines within the first limit bytes of a body.
func (r *reader) inflate(body []byte, limit int) ([]byte, error) {
	r.src.Reset(body)
	if r.zr == nil {
		r.zr = new(gzip.Reader)
	}
	if err := r.zr.Reset(&r.src); err != nil {
		return nil, err
	}
	if cap(r.buf) < limit+1 {
		r.buf = make([]byte, limit+1)
	}
	n, err := io.ReadFull(r.zr, r.buf[:limit+1])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return head(r.buf[:n], limit), nil
}
