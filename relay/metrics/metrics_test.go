package metrics

import (
	"bytes"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/relay/connections"
	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/ingest"
	"github.com/rpicluster/vitals/relay/queue"
	"github.com/rpicluster/vitals/relay/web"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func aSource() *Source {
	status := web.Status{
		Version: "1.2.3", Started: now.Add(-time.Hour), Alarms: []string{"a", "b"}, Nodes: fleet.Counts{Up: 3, Late: 2, Down: 1},
		Ingest:      ingest.Stats{Requests: 10, Lines: 1234567, Bytes: 5, RawBytes: 50, BadLines: 2, BadRequests: 1, Refused: 4, Unauthorized: 6, InFlight: 7},
		Queue:       queue.Stats{Bytes: 100, UndeliveredBytes: 60, KeptBytes: 40, FreeBytes: 1 << 30, Commits: 8, Syncs: 9, DamagedFrames: 1, DroppedLines: 3},
		Connections: connections.Stats{Open: 21, Evicted: 2},
		Destinations: []deliver.Status{
			{Name: "influxdb", Required: true, State: deliver.Delivering, Lines: 99, Writes: 11, LastDelivery: now},
			{Name: `o"d\d` + "\n", State: deliver.Held, RejectedLines: 5, Failures: 12, Backlog: queue.Backlog{Bytes: 60, Lines: 6, Oldest: now.Add(-90 * time.Second), DroppedLines: 3}},
		},
	}
	s := &Source{
		Status: func() web.Status { return status }, Refusal: func() string { return "" },
		Ack: &Histogram{}, Commit: &Histogram{}, MaxBytes: 1000, Now: func() time.Time { return now },
	}
	for _, d := range []time.Duration{0, 500 * time.Microsecond, 3 * time.Millisecond, time.Minute} {
		s.Ack.Observe(d)
	}
	return s
}

func page(t *testing.T, s *Source) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("content type %q", got)
	}
	return w.Body.String()
}

func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	var p expfmt.TextParser
	all, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return all
}

// value is a sample's, found by its only label.
func value(t *testing.T, all map[string]*dto.MetricFamily, name, label string) float64 {
	t.Helper()
	for _, m := range all[name].GetMetric() {
		if len(m.Label) > 0 && m.Label[0].GetValue() != label || len(m.Label) == 0 && label != "" {
			continue
		}
		if m.Counter != nil {
			return m.Counter.GetValue()
		}
		return m.Gauge.GetValue()
	}
	t.Errorf("there is no %s of %q", name, label)
	return 0
}

func TestPrometheusReadsIt(t *testing.T) {
	all := families(t, page(t, aSource()))
	for _, want := range []struct {
		name, label string
		value       float64
	}{
		{"vitals_relay_build_info", "1.2.3", 1}, {"vitals_relay_ready", "", 1}, {"vitals_relay_alarms", "", 2},
		{"vitals_relay_accepted_lines_total", "", 1234567}, {"vitals_relay_writes_total", "refused", 4}, {"vitals_relay_writes_total", "unauthorized", 6},
		{"vitals_relay_bad_lines_total", "", 2}, {"vitals_relay_in_flight_bytes", "", 7}, {"vitals_relay_connections", "", 21}, {"vitals_relay_connections_bounded_total", "evicted", 2},
		{"vitals_relay_queue_max_bytes", "", 1000}, {"vitals_relay_queue_free_bytes", "", 1 << 30}, {"vitals_relay_queue_damaged_frames_total", "", 1},
		{"vitals_relay_destination_up", "influxdb", 1}, {"vitals_relay_destination_held", "influxdb", 0},
		{"vitals_relay_destination_held", `o"d\d` + "\n", 1}, {"vitals_relay_destination_backlog_age_seconds", `o"d\d` + "\n", 90},
		{"vitals_relay_destination_rejected_lines_total", `o"d\d` + "\n", 5}, {"vitals_relay_destination_dropped_lines_total", `o"d\d` + "\n", 3},
		{"vitals_relay_destination_last_delivery_timestamp_seconds", "influxdb", float64(now.Unix())}, {"vitals_relay_nodes", "late", 2},
	} {
		if got := value(t, all, want.name, want.label); got != want.value {
			t.Errorf("%s of %q is %v, want %v", want.name, want.label, got, want.value)
		}
	}
	h := all["vitals_relay_ack_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 4 || h.GetSampleSum() != 60.0035 || h.Bucket[0].GetCumulativeCount() != 2 || h.Bucket[3].GetCumulativeCount() != 3 || h.Bucket[len(bounds)].GetCumulativeCount() != 4 {
		t.Errorf("%v", h)
	}
	for _, name := range []string{"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "go_goroutines"} {
		if value(t, all, name, "") <= 0 {
			t.Errorf("%s is 0", name)
		}
	}
}

func TestPrometheusFindsNoFaultWithTheNames(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing; sh tests/install.sh installs it")
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(page(t, aSource()))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestWithoutDestinationsAndOnADiskThatDoesNotTell(t *testing.T) {
	s := aSource()
	status := s.Status()
	status.Destinations, status.Queue.FreeBytes = nil, -1
	s.Status, s.Refusal = func() web.Status { return status }, func() string { return "full" }
	all := families(t, page(t, s))
	if all["vitals_relay_destination_up"] != nil || all["vitals_relay_queue_free_bytes"] != nil || value(t, all, "vitals_relay_ready", "") != 0 {
		t.Errorf("%v", all)
	}
}

func TestLinesAreSound(t *testing.T) {
	text, n := aSource().Lines(`my host,a=b\`, now)
	var s line.Scanner
	if rep := s.Scan(text, line.Nanosecond); rep.Lines != n || n != 3 || len(rep.Bad) > 0 || rep.Unstamped > 0 {
		t.Fatalf("%+v of %d lines\n%s", rep, n, text)
	}
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	for _, want := range []string{`vitals_relay,host=my\ host\,a\=b_ `, ",accepted_lines=1234567i,", ",refused_writes=4i,", ",ready=true,", ",ack_count=4i,ack_seconds=60.0035,", ",queue_free_bytes=1073741824i,"} {
		if !strings.Contains(","+string(first), want) {
			t.Errorf("no %s in %s", want, first)
		}
	}
	want := `vitals_relay_destination,destination=influxdb,host=my\ host\,a\=b_ backlog_age_seconds=0,backlog_bytes=0i,backlog_lines=0i,` +
		`delivered_bytes=0i,delivered_lines=99i,dropped_lines=0i,failed_writes=0i,rejected_lines=0i,state="ok",writes=11i 1772366400000000000`
	if d := cmp.Diff(want, strings.SplitN(string(rest), "\n", 2)[0]); d != "" {
		t.Error(d)
	}
}

func TestManyObserveAtOnce(t *testing.T) {
	var h Histogram
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 1000 {
				h.Observe(time.Duration(i) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if count, sum := h.total(); count != 4000 || sum != 4*499500*time.Millisecond {
		t.Errorf("%d, %v", count, sum)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Observe(3 * time.Millisecond)
		}
	})
}
