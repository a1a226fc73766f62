package influx

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Gzip appends raw to dst as one gzip member. It compresses without a state:
// that makes lines as small as the fastest level does, and spares a process
// that compresses a few KiB now and then the 1.5 MB that a writer holds on to.
func Gzip(dst, raw []byte) []byte {
	out := bytes.NewBuffer(dst)
	w, err := gzip.NewWriterLevel(out, gzip.StatelessCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
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

// oneMember returns body if it is one gzip member, and else what it holds as
// one.
func oneMember(body []byte) ([]byte, error) {
	in := bytes.NewReader(body) // being a ByteReader, it is not read beyond the member
	r, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	r.Multistream(false)
	raw, err := io.ReadAll(r)
	if err != nil || in.Len() == 0 {
		return body, err
	}
	if err := r.Reset(in); err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return Gzip(nil, append(raw, rest...)), nil
}
