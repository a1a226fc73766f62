package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"
)

// ledger notes which lines have arrived at a sink, by their field seq: as line
// protocol, or as what vmagent makes of it, Prometheus' remote write.
type ledger struct {
	mu      sync.Mutex
	seen    []bool
	missing int
	twice   int // lines that came more than once
}

// expect starts anew with lines 0 to n.
func (l *ledger) expect(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.missing, l.twice = make([]bool, n), n, 0
}

func (l *ledger) note(seqs []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range seqs {
		switch {
		case seq < 0 || seq >= len(l.seen) || l.seen[seq]:
			l.twice++
		default:
			l.seen[seq] = true
			l.missing--
		}
	}
}

// wait waits until every line has arrived.
func (l *ledger) wait(ctx context.Context, patience time.Duration) error {
	for limit := time.Now().Add(patience); ; {
		l.mu.Lock()
		missing := l.missing
		l.mu.Unlock()
		switch {
		case missing == 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Now().After(limit):
			return fmt.Errorf("%d lines that it has accepted did not arrive within %v", missing, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ServeHTTP is the sink.
func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/query" { // databases are made here, too
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"results":[{"statement_id":0}]}`)
		return
	}
	seqs, err := readSeqs(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.note(seqs)
	w.WriteHeader(http.StatusNoContent)
}

func readSeqs(r *http.Request) ([]int, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	switch r.Header.Get("Content-Encoding") {
	case "snappy":
		if body, err = s2.Decode(nil, body); err != nil {
			return nil, err
		}
		return remoteWritten(body)
	case "gzip":
		inflate, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		if body, err = io.ReadAll(inflate); err != nil {
			return nil, err
		}
	}
	return written(body)
}

// written finds the numbers of lines in line protocol.
func written(body []byte) (seqs []int, err error) {
	for line := range bytes.Lines(body) {
		_, rest, _ := bytes.Cut(line, []byte(",seq="))
		digits, _, ok := bytes.Cut(rest, []byte("i "))
		seq, err := strconv.Atoi(string(digits))
		if err != nil || !ok {
			return nil, fmt.Errorf("a line without its number: %q", line)
		}
		seqs = append(seqs, seq)
	}
	return seqs, nil
}

// remoteWritten finds them in a WriteRequest: the values of the series cpu_seq.
//
//	WriteRequest: 1 series…   series: 1 label… 2 sample…   label: 1 name 2 value   sample: 1 value
func remoteWritten(message []byte) (seqs []int, err error) {
	err = each(message, func(_ protowire.Number, series []byte, _ uint64) error {
		var named bool
		var values []int
		err := each(series, func(field protowire.Number, part []byte, _ uint64) error {
			if field == 2 {
				values = append(values, 0) // what is 0 is left out
			}
			return each(part, func(sub protowire.Number, text []byte, bits uint64) error {
				switch {
				case field == 1 && sub == 2 && string(text) == "cpu_seq":
					named = true
				case field == 2 && sub == 1:
					values[len(values)-1] = int(math.Float64frombits(bits))
				}
				return nil
			})
		})
		if named {
			seqs = append(seqs, values...)
		}
		return err
	})
	return seqs, err
}

// each calls fn with the fields of a message of Protocol Buffers that are bytes
// or 64 bits wide.
func each(message []byte, fn func(field protowire.Number, bytes []byte, bits uint64) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var text []byte
		var bits uint64
		switch kind {
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(message)
		case protowire.Fixed64Type:
			bits, n = protowire.ConsumeFixed64(message)
		default:
			n = protowire.ConsumeFieldValue(field, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := fn(field, text, bits); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}
