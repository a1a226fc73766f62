// Package metrics shows how the relay is doing to programs that watch it: to
// Prometheus at /metrics, and as lines of the relay's own.
package metrics

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/web"
)

// Source is what is shown.
type Source struct {
	Status func() web.Status
	// Refusal is why writes are refused for now; empty: they are taken.
	Refusal func() string
	// Ack is how long writes waited for their answer once they had arrived,
	// Commit how long a write to the disk with its sync took.
	Ack, Commit *Histogram
	MaxBytes    int64            // of what is not delivered
	Now         func() time.Time // default time.Now
}

func (s *Source) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// contentType names the format to whoever asks.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// ServeHTTP answers in Prometheus's text format.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var t text
	status := s.Status()
	s.relay(&t, &status)
	s.door(&t, &status)
	s.queue(&t, &status)
	s.destinations(&t, status.Destinations)
	s.nodes(&t, &status)
	process(&t)
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(t.Len()))
	w.Write(t.Bytes())
}

func (s *Source) relay(t *text, status *web.Status) {
	t.family("vitals_relay_build_info", "gauge", "What runs.")
	t.sample("vitals_relay_build_info", 1, label{"version", status.Version}, label{"goversion", runtime.Version()})
	t.one("vitals_relay_start_time_seconds", "gauge", "When the relay was started, since the epoch.", float64(status.Started.Unix()))
	t.one("vitals_relay_ready", "gauge", "Whether writes are taken, as /ready says.", truth(s.Refusal() == ""))
	t.one("vitals_relay_alarms", "gauge", "What somebody should look at; the page says what.", float64(len(status.Alarms)))
}

func (s *Source) door(t *text, status *web.Status) {
	i := &status.Ingest
	t.family("vitals_relay_writes_total", "counter", "Writes, by what became of them.")
	for _, w := range []struct {
		result string
		n      int64
	}{{"accepted", i.Requests}, {"bad", i.BadRequests}, {"refused", i.Refused}, {"unauthorized", i.Unauthorized}} {
		t.sample("vitals_relay_writes_total", float64(w.n), label{"result", w.result})
	}
	t.one("vitals_relay_accepted_lines_total", "counter", "Lines that are on disk.", float64(i.Lines))
	t.one("vitals_relay_accepted_bytes_total", "counter", "Bytes of accepted writes as they travelled.", float64(i.Bytes))
	t.one("vitals_relay_accepted_raw_bytes_total", "counter", "Bytes of accepted writes, inflated.", float64(i.RawBytes))
	t.one("vitals_relay_bad_lines_total", "counter", "Lines that cannot be parsed, or may not be written by who wrote them.", float64(i.BadLines))
	t.one("vitals_relay_panics_total", "counter", "Requests that ended in a fault of the relay.", float64(i.Panics))
	t.one("vitals_relay_in_flight_bytes", "gauge", "Memory of writes that are being served.", float64(i.InFlight))
	c := &status.Connections
	t.one("vitals_relay_connections", "gauge", "Open connections.", float64(c.Open))
	t.family("vitals_relay_connections_bounded_total", "counter", "Connections beyond a bound, by what became of them.")
	for _, b := range []struct {
		result string
		n      int64
	}{{"told", c.Told}, {"evicted", c.Evicted}, {"closed", c.Closed}} {
		t.sample("vitals_relay_connections_bounded_total", float64(b.n), label{"result", b.result})
	}
	t.histogram("vitals_relay_ack_seconds", "From a write that has arrived to its answer.", s.Ack)
}

func (s *Source) queue(t *text, status *web.Status) {
	q := &status.Queue
	t.one("vitals_relay_queue_bytes", "gauge", "Bytes on disk.", float64(q.Bytes))
	t.one("vitals_relay_queue_undelivered_bytes", "gauge", "Bytes that at least one destination has not got.", float64(q.UndeliveredBytes))
	t.one("vitals_relay_queue_max_bytes", "gauge", "The bound of undelivered bytes; 0 if there is none.", float64(s.MaxBytes))
	t.one("vitals_relay_queue_kept_bytes", "gauge", "Bytes that are kept for later destinations.", float64(q.KeptBytes))
	if q.FreeBytes >= 0 {
		t.one("vitals_relay_queue_free_bytes", "gauge", "Free space of the disk.", float64(q.FreeBytes))
	}
	t.one("vitals_relay_queue_commits_total", "counter", "Commits; writes that wait together share one.", float64(q.Commits))
	t.one("vitals_relay_queue_syncs_total", "counter", "Calls that wait for the disk.", float64(q.Syncs))
	t.one("vitals_relay_queue_damaged_frames_total", "counter", "Places of the queue that cannot be read back.", float64(q.DamagedFrames))
	t.one("vitals_relay_queue_dropped_lines_total", "counter", "Lines dropped because the queue was full, for all destinations.", float64(q.DroppedLines))
	t.histogram("vitals_relay_commit_seconds", "A write to the disk with its sync.", s.Commit)
}

// destinations lists each figure with a sample for every destination.
func (s *Source) destinations(t *text, all []deliver.Status) {
	figures := []struct {
		name, kind, help string
		of               func(d *deliver.Status) float64
	}{
		{"up", "gauge", "Whether it takes writes.", func(d *deliver.Status) float64 { return truth(d.State == deliver.Delivering) }},
		{"held", "gauge", "Whether it refuses writes until somebody acts.", func(d *deliver.Status) float64 { return truth(d.State == deliver.Held) }},
		{"required", "gauge", "Whether it is a required one.", func(d *deliver.Status) float64 { return truth(d.Required) }},
		{"delivered_lines_total", "counter", "Lines that it has stored.", func(d *deliver.Status) float64 { return float64(d.Lines) }},
		{"delivered_bytes_total", "counter", "Bytes of delivered writes, compressed.", func(d *deliver.Status) float64 { return float64(d.Bytes) }},
		{"writes_total", "counter", "Writes that it has taken.", func(d *deliver.Status) float64 { return float64(d.Writes) }},
		{"failed_writes_total", "counter", "Attempts that have failed.", func(d *deliver.Status) float64 { return float64(d.Failures) }},
		{"rejected_lines_total", "counter", "Lines that it refused for good; they are set aside.", func(d *deliver.Status) float64 { return float64(d.RejectedLines) }},
		{"dropped_lines_total", "counter", "Lines dropped unsent because the queue was full.", func(d *deliver.Status) float64 { return float64(d.Backlog.DroppedLines) }},
		{"backlog_bytes", "gauge", "Bytes on disk that it has not got.", func(d *deliver.Status) float64 { return float64(d.Backlog.Bytes) }},
		{"backlog_lines", "gauge", "Lines that it has not got.", func(d *deliver.Status) float64 { return float64(d.Backlog.Lines) }},
		{"backlog_age_seconds", "gauge", "How long the oldest line has waited; 0 if none does.", s.backlogAge},
		{"last_delivery_timestamp_seconds", "gauge", "When it last stored lines, since the epoch; 0 if never since the start.",
			func(d *deliver.Status) float64 { return epoch(d.LastDelivery) }},
	}
	for _, f := range figures {
		if len(all) == 0 {
			return
		}
		name := "vitals_relay_destination_" + f.name
		t.family(name, f.kind, f.help)
		for i := range all {
			t.sample(name, f.of(&all[i]), label{"destination", all[i].Name})
		}
	}
}

func (s *Source) backlogAge(d *deliver.Status) float64 {
	if d.Backlog.Oldest.IsZero() {
		return 0
	}
	return max(s.now().Sub(d.Backlog.Oldest).Seconds(), 0)
}

func (s *Source) nodes(t *text, status *web.Status) {
	t.family("vitals_relay_nodes", "gauge", "Nodes, by their state.")
	n := &status.Nodes
	for _, state := range []struct {
		name  string
		count int
	}{{"up", n.Up}, {"late", n.Late}, {"down", n.Down}, {"retired", n.Retired}} {
		t.sample("vitals_relay_nodes", float64(state.count), label{"state", state.name})
	}
	t.one("vitals_relay_fleet_dropped_writes_total", "counter", "Writes that the view of the nodes had no time for; they are delivered all the same.", float64(status.Fleet.DroppedWrites))
	t.one("vitals_relay_fleet_refused_lines_total", "counter", "Lines of nodes that the view had no room for; they are delivered all the same.", float64(status.Fleet.RefusedLines))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func epoch(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
