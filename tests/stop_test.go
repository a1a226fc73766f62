package tests

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slowSink stores lines as an InfluxDB 1.x that takes its time, and counts how
// often it was sent each.
type slowSink struct {
	mu     sync.Mutex
	stored map[string]int
}

// ServeHTTP implements http.Handler.
func (s *slowSink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/write" {
		fmt.Fprint(w, `{"results":[{}]}`)
		return
	}
	zr, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	time.Sleep(150 * time.Millisecond)
	s.mu.Lock()
	for line := range bytes.Lines(text) {
		s.stored[strings.TrimSpace(string(line))]++
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// writers writes lines, each its own, until they are told to stop, and returns
// those that were answered 204.
func writers(url string, round, clients int, stop *atomic.Bool) (accepted []string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := 1; !stop.Load(); n++ {
				line := fmt.Sprintf("m,host=c%d v=%di %d", c, round, round*1_000_000+n)
				resp, err := http.Post(fmt.Sprintf("%s/write?db=d%d", url, c%3), "", strings.NewReader(line+"\n"))
				if err != nil {
					time.Sleep(20 * time.Millisecond)
					continue
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusNoContent {
					mu.Lock()
					accepted = append(accepted, line)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return accepted
}

// TestAStopUnderLoadLosesAndRepeatsNothing stops the relay while clients write
// to several databases and a delivery is under way: what it has accepted it has answered, and no line
// is sent a second time by the one that is started next.
func TestAStopUnderLoadLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	sink := &slowSink{stored: map[string]int{}}
	db := httptest.NewServer(sink)
	t.Cleanup(db.Close)
	port := freePort(t)
	config := m.file("node.toml", fmt.Sprintf("[relay]\n  listen = \"127.0.0.1:%d\"\n  data_directory = \"$DIR/relay\"\n[relay.provision]\n  enabled = false\n"+
		"[[relay.destinations]]\n  name = \"influxdb\"\n  url = %q\n", port, db.URL))
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	start := func() *process {
		relay := m.start("vitals-relay", "--config", config)
		eventually(t, time.Minute, func() string {
			if status, body := get(t, url+"/ready"); status != 200 {
				return body
			}
			return ""
		})
		return relay
	}
	accepted := map[string]bool{}
	for round := range 4 {
		relay := start()
		var stop atomic.Bool
		lines := make(chan []string)
		go func() { lines <- writers(url, round+1, 8, &stop) }()
		eventually(t, time.Minute, func() string {
			sink.mu.Lock()
			defer sink.mu.Unlock()
			if len(sink.stored) < len(accepted)+50 {
				return fmt.Sprintf("%d lines are stored", len(sink.stored))
			}
			return ""
		})
		relay.stop()
		stop.Store(true)
		for _, line := range <-lines {
			accepted[line] = true
		}
	}
	start()
	eventually(t, time.Minute, func() string {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		for line := range accepted {
			if sink.stored[line] == 0 {
				return "it is not stored: " + line
			}
		}
		return ""
	})
	sink.mu.Lock()
	defer sink.mu.Unlock()
	for line, n := range sink.stored {
		if n != 1 || !accepted[line] {
			t.Errorf("%s was sent %d times; answered with 204: %t", line, n, accepted[line])
		}
	}
	t.Logf("%d lines in 4 rounds", len(accepted))
}
