package main

import (
	"compress/gzip"
	"flag"
	"io"
	"net/http"
	"sync"

	klauspost "github.com/klauspost/compress/gzip"
)

// inflater is what both gzip packages have.
type inflater interface {
	io.Reader
	Reset(io.Reader) error
}

// serveFloor is the least that a write endpoint in Go can do, of the standard
// library alone unless told otherwise: it reads a body, inflates it, forgets it
// and answers 204. It runs as a process of its own, this program with the
// argument "floor".
func serveFloor(args []string) error {
	set := flag.NewFlagSet("floor", flag.ContinueOnError)
	listen := set.String("listen", "127.0.0.1:0", "address")
	faster := set.Bool("klauspost", false, "inflate with the package that the relay uses")
	if err := set.Parse(args); err != nil {
		return err
	}
	type state struct {
		inflate inflater
		room    []byte
	}
	pool := sync.Pool{New: func() any {
		s := &state{inflate: new(gzip.Reader), room: make([]byte, 64<<10)}
		if *faster {
			s.inflate = new(klauspost.Reader)
		}
		return s
	}}
	return http.ListenAndServe(*listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := pool.Get().(*state)
		defer pool.Put(s)
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			if err := s.inflate.Reset(body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			body = s.inflate
		}
		// Only a Writer: a Discard that reads by itself would not use the room.
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, s.room); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
}
