package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/rpicluster/vitals/relay/alert"
	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

// api is a handler over a real view, which has seen two nodes.
func api(t *testing.T) (*Handler, *fleet.View) {
	t.Helper()
	view := fleet.New(fleet.Config{Version: "v1.0.0", LateAfter: time.Hour, DownAfter: 2 * time.Hour}) // however long a test takes
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); view.Run(ctx, nil) }()
	t.Cleanup(func() { cancel(); <-done })
	offer(view, `cpu,host=pi-1,cpu=cpu-total,site=x usage_idle=60
mem,host=pi-1,site=x total=4000000000i,used=1000000000i,available=3000000000i,used_percent=25
swap,host=pi-1,site=x total=0i,used=0i,free=0i,used_percent=0
system,host=pi-1,site=x load1=0.5,n_cpus=4i
system,host=pi-1,site=x uptime=5000i
disk,host=pi-1,site=x,path=/ total=100i,used=50i,used_percent=50
temp,host=pi-1,site=x,sensor=cpu temp=50
raspberrypi,host=pi-1,site=x under_voltage=1i
internal_plugin,host=pi-1,site=x,_id=cpu state="ok"
node_info,host=pi-1,site=x model="Pi",cores=4i
mem,host=<img\ onerror\=x> used_percent=1
`)
	h, err := New(Config{Fleet: view, Alerts: someAlerts(t), Status: func() Status {
		s := aStatus()
		s.Destinations = []deliver.Status{{Name: "influxdb", URL: "http://x", State: deliver.Delivering}}
		return s
	}})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); len(view.Nodes()) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the nodes do not appear")
		}
	}
	return h, view
}

// someAlerts are one that fires, of the first node, and one that is silent.
func someAlerts(t *testing.T) func() alert.Status {
	t.Helper()
	hours, err := alert.ParseHours([]string{"Mon-Fri 22:00-06:00"})
	if err != nil {
		t.Fatal(err)
	}
	value := 97.5
	return func() alert.Status {
		return alert.Status{
			Firing: []alert.Alert{
				{ID: "A", Name: "full", Kind: alert.Disk, Node: "pi-1", Since: time.Now(), Value: &value, Above: 95, Text: "/ 98 % full, more than 95 %", Told: []string{"phone"}},
				{ID: "B", Name: "held", Kind: alert.Held, Destination: "influxdb", Since: time.Now(), Text: "<img onerror=x>", Silenced: true},
			},
			Rules: []alert.RuleStatus{
				{Rule: alert.Rule{Name: "down", Kind: alert.Down, Intervals: 2}},
				{Rule: alert.Rule{Name: "full", Kind: alert.Disk, Above: 95, ClearBelow: 93, For: time.Minute, Subjects: []string{"pi-*"}, Quiet: hours}, ForSeconds: 60},
			},
			Silences: []alert.Silence{{Node: "influxdb", Until: time.Now().Add(time.Hour)}},
			Targets:  []alert.TargetStatus{{Name: "phone", Kind: "webhook", Waiting: 1, Sent: 3, Error: "it answers 401"}},
		}
	}
}

func offer(view *fleet.View, lines string) {
	view.Offer(fleet.Write{
		Body: []byte(lines), Lines: strings.Count(lines, "\n"), Received: time.Now(), Address: "10.0.0.7", Client: "vitals-agent/0.9.0", Token: "t1",
	})
}

// Every answer is as the document says, and the document says all of it.
func TestAnswersAreAsDocumented(t *testing.T) {
	h, view := api(t)
	doc, err := openapi3.NewLoader().LoadFromFile("assets/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if list, _ := view.Events(0); len(list) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing happens")
		}
	}
	f := func(path string, status int) {
		t.Helper()
		r := httptest.NewRequest("GET", path, nil)
		route, params, err := router.FindRoute(r)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route}
		out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: w.Code, Header: w.Header()}
		out.SetBodyBytes(w.Body.Bytes())
		if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	f("/api/nodes", 200)
	f("/api/nodes?state=down", 200)
	f("/api/nodes/pi-1", 200)
	f("/api/nodes/nobody", 404)
	f("/api/nodes/%3Cimg%20onerror=x%3E", 200)
	f("/api/nodes/pi-1/history", 200)
	f("/api/nodes/pi-1/history?vital=temperature_celsius&range=6h", 200)
	f("/api/nodes/pi-1/history?vital=happiness", 400)
	f("/api/nodes/pi-1/history?range=long", 400)
	f("/api/nodes/nobody/history", 404)
	f("/api/events", 200)
	f("/api/events?after=x", 400)
	f("/api/placement?cpus=1.5&ram=512MB", 200)
	f("/api/placement?cpus=-1", 400)
	f("/api/placement?cpus=NaN", 400)
	f("/api/placement?ram=much", 400)
	f("/api/alerts", 200)
	f("/api/destinations", 200)
	f("/api/status", 200)
}

func TestTheDocumentIsServed(t *testing.T) {
	h, _ := api(t)
	resp, body := ask(t, h, "GET", "/api/openapi.yaml")
	if resp.StatusCode != 200 || !strings.HasPrefix(body, "openapi: 3") {
		t.Errorf("%d %.60s", resp.StatusCode, body)
	}
}

func TestWhatHasNotChangedIsNotSentAgain(t *testing.T) {
	h, _ := api(t)
	resp, _ := ask(t, h, "GET", "/api/destinations")
	tag := resp.Header.Get("ETag")
	f := func(have string, want int) {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/api/destinations", nil)
		r.Header.Set("If-None-Match", have)
		h.ServeHTTP(w, r)
		if w.Code != want || want == 304 && w.Body.Len() > 0 {
			t.Errorf("%s: %d, %d bytes", have, w.Code, w.Body.Len())
		}
	}
	f(tag, 304)
	f(`"other", `+tag, 304)
	f(`"other"`, 200)
}

func TestEventsAreStreamed(t *testing.T) {
	stopping := make(chan struct{})
	h, view := api(t)
	h.config.Stopping = stopping
	server := httptest.NewServer(h)
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Error(got)
	}
	offer(view, "mem,host=late-comer used_percent=1\n")
	lines := bufio.NewScanner(resp.Body)
	id, found := "", false
	for !found && lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = text
		}
		var e fleet.Event
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &e) == nil {
			found = e.Node == "late-comer" && e.Kind == fleet.IsNew && fmt.Sprint(e.ID) == id
		}
	}
	if !found {
		t.Fatal("the event does not come", lines.Err())
	}
	close(stopping)
	for lines.Scan() { // ends with the relay
	}
}
