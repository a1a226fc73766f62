package influx

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

var writers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// Gzip appends raw to dst as one gzip member.
func Gzip(dst, raw []byte) []byte {
	out := bytes.NewBuffer(dst)
	w := writers.Get().(*gzip.Writer)
	defer writers.Put(w)
	w.Reset(out)
	// A bytes.Buffer takes every write.
	_, _ = w.Write(raw)
	_ = w.Close()
	return out.Bytes()
}

// Gunzip returns what the members of body hold.
func Gunzip(body []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
