package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
)

// load is a number of writes alike. Every line in it is another one: its field
// seq counts from 0.
type load struct {
	name  string
	per   int // lines of a body
	gzip  bool
	conns int
	limit float64 // what the relay may cost in times the floor; 0: no target

	heads, bodies [][]byte
	lines         int
}

// make writes the requests down, so that sending costs little of the machine.
func (l *load) make(lines int) error {
	l.lines = max(lines/l.per, 1) * l.per
	var packed bytes.Buffer
	deflate, err := gzip.NewWriterLevel(&packed, gzip.DefaultCompression)
	if err != nil {
		return err
	}
	for first := 0; first < l.lines; first += l.per {
		var body []byte
		for seq := first; seq < first+l.per; seq++ {
			body = appendLine(body, seq)
		}
		head := "POST /write?db=bench HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nContent-Type: text/plain; charset=utf-8\r\n"
		if l.gzip {
			packed.Reset()
			deflate.Reset(&packed)
			if _, err := deflate.Write(body); err != nil {
				return err
			}
			if err := deflate.Close(); err != nil {
				return err
			}
			body = bytes.Clone(packed.Bytes())
			head += "Content-Encoding: gzip\r\n"
		}
		l.heads = append(l.heads, fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n", head, len(body)))
		l.bodies = append(l.bodies, body)
	}
	return nil
}

// appendLine appends a line of Telegraf's cpu, from one of 200 nodes.
func appendLine(b []byte, seq int) []byte {
	const start, step = 1_700_000_000_000_000_000, 1000
	b = fmt.Appendf(b, "cpu,cpu=cpu%d,host=node%d usage_user=", seq%4, seq%200)
	b = strconv.AppendFloat(b, float64(seq%1000)/10.3, 'f', -1, 64)
	b = append(b, ",usage_system="...)
	b = strconv.AppendFloat(b, float64(seq%770)/7.7, 'f', -1, 64)
	b = append(b, ",usage_idle="...)
	b = strconv.AppendFloat(b, 100-float64(seq%1000)/10.3, 'f', -1, 64)
	b = append(b, ",usage_nice=0,usage_iowait=0.1001,usage_irq=0,usage_softirq=0,usage_steal=0,usage_guest=0,usage_guest_nice=0"...)
	return fmt.Appendf(b, ",seq=%di %d\n", seq, start+seq*step)
}

// send makes every write of the load once, or writes for the given time at so
// many a second, over and over. It returns how long each took until its answer;
// at a rate counted from when the write was due, whether or not it could be
// sent then.
func (l *load) send(ctx context.Context, address string, rate int, length time.Duration) ([]time.Duration, error) {
	total := len(l.bodies)
	if rate > 0 {
		total = int(length.Seconds() * float64(rate))
	}
	took, failed := make([]time.Duration, total), make([]error, l.conns)
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for c := range l.conns {
		wg.Go(func() {
			failed[c] = l.sendSome(ctx, address, func() (int, time.Time, bool) {
				i := int(next.Add(1) - 1)
				if i >= total {
					return 0, time.Time{}, false
				}
				if rate == 0 {
					return i, time.Now(), true
				}
				due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
				time.Sleep(time.Until(due))
				return i, due, true
			}, took)
		})
	}
	wg.Wait()
	return took, errors.Join(failed...)
}

// sendSome makes the writes that next tells it to, on one connection.
func (l *load) sendSome(ctx context.Context, address string, next func() (i int, due time.Time, more bool), took []time.Duration) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answers := bufio.NewReader(conn)
	for {
		i, due, more := next()
		if !more {
			return nil
		}
		n := i % len(l.bodies)
		request := net.Buffers{l.heads[n], l.bodies[n]}
		if _, err := request.WriteTo(conn); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		if err := readAnswer(answers); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		took[i] = time.Since(due)
	}
}

func readAnswer(r *bufio.Reader) error {
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s: %s", answer.Status, text)
	}
	return nil
}
