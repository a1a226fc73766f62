package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/queue"
)

const (
	// firstBuffer is what a body gets before it has sent anything: what a
	// client announces is not trusted beyond it.
	firstBuffer = 64 << 10
	// answerTime is what an answer may take to reach a client after its body.
	answerTime = 30 * time.Second
	// ratioFrom is from how many inflated bytes on their ratio is bounded.
	ratioFrom = 1 << 20
	// largePooled buffers are not kept for the next request.
	largePooled = 4 << 20
	// maxBad lines in one body are told of; one with more is refused whole.
	maxBad = 10_000
	// stampBytes is what a timestamp adds to a line that has none.
	stampBytes = 21
)

// What may be wrong with a body apart from its lines.
var (
	errTooLarge = errors.New("Request Entity Too Large") // InfluxDB's words
	errBusy     = errors.New("too many bytes in flight")
	errCrowded  = errors.New("too many connections")
)

// request is the memory of one write being served. It is pooled: a sound body
// costs no allocation.
type request struct {
	handler *Handler
	grant   *auth.Grant // of whoever writes; nil: nobody is checked
	charged int64       // bytes in flight that this request answers for

	body []byte // as it travelled
	raw  []byte // inflated; aliases body if that is not compressed
	// rewritten says that body was inflated and made the writer's own.
	rewritten bool
	spare     []byte // memory for raw
	emitted   []byte // lines emitted anew
	packed    []byte // lines compressed here
	kept      queue.Batch

	scanner line.Scanner
	source  bytes.Reader
	inflate gzip.Reader
	deflate *gzip.Writer
	sink    bytes.Buffer
}

// release gives the memory back.
func (q *request) release() {
	q.handler.inFlight.Add(-q.charged)
	q.charged, q.raw, q.kept, q.grant, q.rewritten = 0, nil, queue.Batch{}, nil, false
	q.body = q.body[:0]
	for _, b := range []*[]byte{&q.body, &q.spare, &q.emitted, &q.packed} {
		if cap(*b) > largePooled {
			*b = nil
		}
	}
	if q.sink.Cap() > largePooled {
		q.sink = bytes.Buffer{}
	}
	q.handler.requests.Put(q)
}

// charge counts n more bytes in flight, or reports that there are too many. A
// request that is alone is never one too many.
func (q *request) charge(n int) bool {
	q.charged += int64(n)
	total := q.handler.inFlight.Add(int64(n))
	return total <= q.handler.config.MaxInFlight || total == q.charged
}

// read reads a body and inflates it if it is compressed. headerBad says that
// not even the first bytes are gzip: InfluxDB 2.x answers that differently.
func (q *request) read(w http.ResponseWriter, r *http.Request, compressed bool) (headerBad bool, err error) {
	limit := q.handler.config.MaxBody
	if compressed {
		limit = q.handler.config.MaxCompressedBody
	}
	if r.ContentLength > limit {
		return q.readTooLarge(r, compressed)
	}
	if err := q.readBody(w, r, limit); err != nil {
		return false, err
	}
	if !compressed {
		q.raw = q.body
		return false, nil
	}
	q.source.Reset(q.body)
	if err := q.inflate.Reset(&q.source); err != nil {
		return true, err
	}
	return false, q.inflateBody()
}

// readTooLarge looks at the beginning of a body that is too large: InfluxDB
// finds fault with the compression first.
func (q *request) readTooLarge(r *http.Request, compressed bool) (headerBad bool, err error) {
	if !compressed {
		return false, errTooLarge
	}
	q.body = slices.Grow(q.body[:0], 512)
	n, _ := io.ReadAtLeast(r.Body, q.body[:512], 18)
	q.source.Reset(q.body[:n])
	if err := q.inflate.Reset(&q.source); errors.Is(err, gzip.ErrHeader) {
		return true, err
	}
	return false, errTooLarge
}

func (q *request) readBody(w http.ResponseWriter, r *http.Request, limit int64) error {
	q.body = q.body[:0]
	if n := r.ContentLength; n > 0 {
		q.body = slices.Grow(q.body, int(min(n, firstBuffer))+1)
	}
	var p pace
	for {
		if len(q.body) == cap(q.body) {
			q.body = slices.Grow(q.body, max(4096, int(min(int64(len(q.body)), limit))))
		}
		n, err := r.Body.Read(q.body[len(q.body):cap(q.body)])
		q.body = q.body[:len(q.body)+n]
		if int64(len(q.body)) > limit {
			return errTooLarge
		}
		if !q.charge(n) {
			return errBusy
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		p.grant(w, int64(len(q.body)), &q.handler.config)
	}
}

// pace is how long a body has been coming.
type pace struct{ begun, next time.Time }

// grant gives a body more time that comes fast enough: since its beginning at
// the least rate at least, and never silent for longer than the server's patience,
// which is also what the first bytes have.
func (p *pace) grant(w http.ResponseWriter, received int64, c *Config) {
	now := time.Now()
	if p.begun.IsZero() {
		p.begun = now
	} else if now.Before(p.next) {
		return
	}
	p.next = now.Add(min(time.Second, c.Patience/4))
	earned := c.Patience + time.Duration(float64(received)/float64(c.MinRate)*float64(time.Second))
	until := p.begun.Add(min(earned, c.BodyTimeout))
	if silent := now.Add(c.Patience); until.After(silent) {
		until = silent
	}
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(until)
	rc.SetWriteDeadline(until.Add(answerTime))
}

func (q *request) inflateBody() error {
	limit := q.handler.config.MaxBody
	ratio := max(ratioFrom, q.handler.config.MaxRatio*int64(len(q.body)))
	raw, counted := q.spare[:0], 0
	if n := len(q.body); n > 8 {
		// The last member's size, as it claims it, is a first guess.
		claimed := int64(binary.LittleEndian.Uint32(q.body[n-4:]))
		counted = int(min(claimed, limit, int64(32*n)))
		if !q.charge(counted) {
			return errBusy
		}
		raw = slices.Grow(raw, counted+1)
	}
	defer func() { q.raw, q.spare = raw, raw }()
	for {
		if len(raw) == cap(raw) {
			raw = slices.Grow(raw, max(4096, len(raw)))
		}
		n, err := q.inflate.Read(raw[len(raw):cap(raw)])
		raw = raw[:len(raw)+n]
		if int64(len(raw)) > min(limit, ratio) {
			return errTooLarge
		}
		if more := len(raw) - counted; more > 0 {
			if counted = len(raw); !q.charge(more) {
				return errBusy
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// passing reports whether a body could not be read for a reason that may be
// gone the next time: the client should come again, and not drop its lines.
func passing(err error) bool {
	return errors.Is(err, errBusy) || errors.Is(err, os.ErrDeadlineExceeded)
}
