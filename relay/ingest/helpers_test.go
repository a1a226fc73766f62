package ingest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/influxql"
	"github.com/rpicluster/vitals/relay/queue"
)

var now = time.Date(2026, 3, 1, 12, 34, 56, 789_000_000, time.UTC)

// memory is a queue that remembers, or fails.
type memory struct {
	mu      sync.Mutex
	fails   error
	batches []queue.Batch
}

func (m *memory) Append(_ context.Context, b *queue.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return m.fails
	}
	c := *b
	c.Body = bytes.Clone(b.Body)
	m.batches = append(m.batches, c)
	return nil
}

// text is everything that was appended: each batch's target and lines.
func (m *memory) text(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, batch := range m.batches {
		raw, err := influx.Gunzip(batch.Body)
		if err != nil {
			t.Fatalf("the batch is not gzip: %v", err)
		}
		if int64(len(raw)) != batch.RawBytes || strings.Count(string(raw), "\n") < batch.Lines {
			t.Errorf("%d bytes and %d lines are said to be in %q", batch.RawBytes, batch.Lines, raw)
		}
		b.WriteString(strings.Join([]string{batch.Target.Database, batch.Target.RetentionPolicy, batch.Target.Precision}, "|") + "\n")
		b.Write(raw)
	}
	return b.String()
}

// databases is what clients have asked to be created.
type databases struct {
	created []influxql.Statement
	fails   error
}

func (d *databases) Create(s influxql.Statement) error {
	if d.fails == nil {
		d.created = append(d.created, s)
	}
	return d.fails
}

func (d *databases) Names() []string { return []string{"a", "b"} }

func (d *databases) Policies(name string) ([]influxql.Policy, bool) {
	return []influxql.Policy{{Name: "p", Duration: 365 * 24 * time.Hour, Replication: 3, Default: true}}, name == "a"
}

type offers struct {
	mu        sync.Mutex
	texts     []string
	addresses []string
}

func (o *offers) Offer(w fleet.Write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.texts = append(o.texts, string(w.Body))
	o.addresses = append(o.addresses, w.Address)
}

type door struct {
	*Handler
	queue     *memory
	databases *databases
	fleet     *offers
}

func newDoor() *door {
	d := &door{queue: &memory{}, databases: &databases{}, fleet: &offers{}}
	d.Handler = New(Config{
		Queue: d.queue, Databases: d.databases, Fleet: d.fleet,
		MaxBody: 2 << 20, MaxCompressedBody: 64 << 10, MaxInFlight: 8 << 20,
		Now: func() time.Time { return now },
	})
	return d
}

func gz(text string) string { return string(influx.Gzip(nil, []byte(text))) }

// do serves one request; a body given as *strings.Reader has a length, any
// other reader is chunked.
func (d *door) do(t *testing.T, method, target string, headers map[string]string, body io.Reader) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, body)
	r.RemoteAddr = "10.0.0.9:4711"
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result()
}

// render is the whole answer: status, headers in order, body.
func render(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(resp.Status + "\n")
	resp.Header.WriteSubset(&b, map[string]bool{"Content-Length": true})
	return strings.ReplaceAll(b.String(), "\r\n", "\n") + "\n" + string(body)
}
