package web

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/ingest"
	"github.com/rpicluster/vitals/relay/queue"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func num(v float64) *float64 { return &v }

func aNode() fleet.Node {
	return fleet.Node{
		Name: "pi-1", State: fleet.Up, LastSeen: now.Add(-3 * time.Second), SecondsSinceSeen: 3, IntervalSeconds: 10,
		Address: "10.0.0.5", Lines: 1234, LinesPerMinute: 48,
		CPUPercent: num(93), CPUMHz: num(1800), RAMUsedBytes: num(1 << 30), RAMTotalBytes: num(4 << 30), RAMPercent: num(25),
		SwapTotalBytes: num(0), SwapUsedBytes: num(0), SwapPercent: num(0), TemperatureCelsius: num(66.4), TemperatureSensor: "cpu_thermal",
		Facts:      map[string]any{"model": "Raspberry Pi 4", "cores": int64(4), "architecture": "aarch64", "os": "Debian", "boot_time": now.Unix() - 3*86400},
		CPUHistory: []float32{10, 50, 93}, UptimeSeconds: num(2.5 * 86400),
	}
}

func aStatus() Status {
	return Status{
		Version: "1.2.3", Started: now.Add(-time.Hour), Listen: "127.0.0.1:8186", Alarms: []string{}, Notes: []string{},
		Ingest: ingest.Stats{Lines: 1234567}, Queue: queue.Stats{KeptBytes: 5 << 20},
	}
}

// nodesOnly is a fleet of which only the nodes are asked for.
type nodesOnly struct {
	Fleet
	nodes func() []fleet.Node
}

func (s nodesOnly) Nodes() []fleet.Node { return s.nodes() }

func (s nodesOnly) Node(name string) (fleet.Node, error) {
	for _, n := range s.nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return fleet.Node{}, fleet.ErrNoNode
}

func (s nodesOnly) Events(uint64) ([]fleet.Event, <-chan struct{}) {
	var events []fleet.Event
	for i, n := range s.nodes() {
		events = append(events, fleet.Event{ID: uint64(i + 1), Time: now, Node: n.Name, Kind: fleet.IsNew, Text: "has written for the first time"})
	}
	return events, nil
}

// get asks a handler that shows nodes and status.
func get(t *testing.T, nodes []fleet.Node, status Status, path string) (*http.Response, string) {
	t.Helper()
	h, err := New(Config{Fleet: nodesOnly{nodes: func() []fleet.Node { return slices.Clone(nodes) }}, Status: func() Status { return status }, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, h, "GET", path)
}

func ask(t *testing.T, h http.Handler, method, path string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, nil)
	r.Host = "relay.local:8186"
	h.ServeHTTP(w, r)
	resp := w.Result()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func contains(t *testing.T, body string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Errorf("%q is not on the page", text)
		}
	}
}

func TestPageShowsEveryVital(t *testing.T) {
	resp, body := get(t, []fleet.Node{aNode()}, aStatus(), "/")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	contains(t, body, "pi-1", "93 %", "1.8 GHz", "25 %", "1 GB of 4 GB", "none", "66 °C", "cpu_thermal",
		"Raspberry Pi 4 · 4 × aarch64 · Debian", "10.0.0.5", "up 2 days", "48 lines/min", "3 s ago",
		`class="meter hot"`, `class="meter warm"`, `href="/nodes/pi-1"`, "has written for the first time")
}

func TestChartsOfSwapWhereThereIsSome(t *testing.T) {
	const swap = `data-vital="swap_percent"`
	n := aNode()
	if _, body := get(t, []fleet.Node{n}, aStatus(), "/nodes/pi-1"); strings.Contains(body, swap) || !strings.Contains(body, `data-vital="ram_percent"`) {
		t.Error("a node without swap has a chart of it")
	}
	for _, total := range []*float64{nil, num(1 << 30)} {
		n.SwapTotalBytes = total
		if _, body := get(t, []fleet.Node{n}, aStatus(), "/nodes/pi-1"); !strings.Contains(body, swap) {
			t.Error("a node with swap has no chart of it")
		}
	}
}

func TestPageBeforeTheFirstNode(t *testing.T) {
	_, body := get(t, nil, aStatus(), "/")
	contains(t, body, "[[inputs.disk]]", "[[inputs.raspberrypi]]", "No node has written yet", "<details open>", `urls = ["http://relay.local:8186"]`, "/etc/vitals/node.toml", "which only this machine can reach")
	status := aStatus()
	status.Listen = ":8186"
	_, body = get(t, []fleet.Node{aNode()}, status, "/")
	if strings.Contains(body, "which only this machine can reach") || strings.Contains(body, "<details open>") {
		t.Error("the page explains what needs no explanation")
	}
}

func TestTroubleComesFirst(t *testing.T) {
	var nodes []fleet.Node
	for _, n := range []fleet.Node{{Name: "a-10", State: fleet.Up}, {Name: "a-9", State: fleet.Up}, {Name: "b", State: fleet.Late}, {Name: "c", State: fleet.Down}} {
		nodes = append(nodes, n)
	}
	_, body := get(t, nodes, aStatus(), "/")
	var got []string
	for _, m := range regexp.MustCompile(`data-key="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		got = append(got, m[1])
	}
	if d := cmp.Diff([]string{"c", "b", "a-9", "a-10"}, got); d != "" {
		t.Error(d)
	}
	contains(t, body, `<b class="up">2</b> up, <b class="late">1</b> late, <b class="down">1</b> down`, `<span class="state">late</span>`)
}

func TestDestinations(t *testing.T) {
	status := aStatus()
	status.Alarms = []string{"influxdb refuses writes until somebody acts"}
	status.Destinations = []deliver.Status{
		{Name: "near", URL: "http://a", State: deliver.Delivering, Lines: 5000},
		{Name: "far", URL: "http://b", State: deliver.Held, Error: "401 <b>", RejectedLines: 7,
			Backlog: queue.Backlog{Lines: 1200, Bytes: 3 << 20, Oldest: now.Add(-10 * time.Minute)}},
	}
	_, body := get(t, nil, status, "/relay")
	contains(t, body, "1\u202f234\u202f567 lines accepted", "vitals 1.2.3", "near", "delivering", "nothing waits", "5\u202f000", "far", "needs you", "401 &lt;b&gt;", "1\u202f200 lines, 3 MB, oldest 10 min ago",
		`<p class="alarm" role="alert">influxdb refuses writes until somebody acts</p>`)
	_, body = get(t, nil, status, "/") // tells of trouble only
	contains(t, body, `<a href="/relay">far</a>: needs you`, `<p class="alarm" role="alert">influxdb refuses writes until somebody acts</p>`)
	if strings.Contains(body, "near") {
		t.Error("the overview tells of a destination without trouble")
	}
}

// What a screen reader speaks at once is spoken once, and not anew with every
// figure that changes.
func TestWhatIsSpokenDoesNotChange(t *testing.T) {
	status := aStatus()
	n := aNode()
	role := regexp.MustCompile(`role="alert">(.*?)</(p|span)>`)
	spoken := func() (all []string) {
		for _, path := range []string{"/", "/relay", "/nodes/pi-1"} {
			_, body := get(t, []fleet.Node{n}, status, path)
			for _, m := range role.FindAllStringSubmatch(body, -1) {
				all = append(all, m[1])
			}
		}
		return all
	}
	for i := range 3 {
		age := time.Duration(i+1) * 17 * time.Second
		n.ClockSkewSeconds = num(60 + age.Seconds())
		status.Destinations = []deliver.Status{{Name: "far", State: deliver.Failing, Backlog: queue.Backlog{Lines: int64(i + 1), Bytes: 1, Oldest: now.Add(-age)}}}
		if d := cmp.Diff([]string{`<a href="/relay">far</a>: not reachable`}, spoken()); d != "" {
			t.Error(d)
		}
	}
}

// Texts can be read in both colours: their contrast is what WCAG asks of small ones.
func TestColoursCanBeRead(t *testing.T) {
	style, err := embedded.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, rest, _ := strings.Cut(string(style), "prefers-color-scheme")
	dark, _, _ := strings.Cut(rest, "box-sizing")
	for name, text := range map[string]string{"light": light, "dark": dark} {
		luminance := func(variable string) float64 {
			m := regexp.MustCompile(`--` + variable + `: #([0-9a-f]{6});`).FindStringSubmatch(text)
			if m == nil {
				t.Fatalf("%s: no colour %s", name, variable)
			}
			rgb, err := strconv.ParseUint(m[1], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			part := func(shift int) float64 {
				c := float64(rgb>>shift&255) / 255
				if c <= 0.04045 {
					return c / 12.92
				}
				return math.Pow((c+0.055)/1.055, 2.4)
			}
			return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0)
		}
		for _, ink := range []string{"ink", "soft", "calm", "warm", "hot"} {
			for _, ground := range []string{"page", "card"} {
				a, b := luminance(ink), luminance(ground)
				if contrast := (max(a, b) + 0.05) / (min(a, b) + 0.05); contrast < 4.5 {
					t.Errorf("%s: %s on %s has a contrast of %.2f", name, ink, ground, contrast)
				}
			}
		}
	}
}

func TestNothingANodeWritesBecomesScript(t *testing.T) {
	evil := `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	n := aNode()
	n.Name, n.Address, n.TemperatureSensor = evil, evil, evil
	n.Facts = map[string]any{"model": evil, evil: evil}
	for _, path := range []string{"/", nodeURL(evil), "/relay", nodeURL("<script>alert(1)</script>")} {
		resp, body := get(t, []fleet.Node{n}, aStatus(), path)
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img") {
			t.Errorf("%s: a name became HTML", path)
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "script-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("policy: %s", csp)
		}
	}
}

func TestThePageAsksNobodyElse(t *testing.T) {
	nodes := nodesOnly{nodes: func() []fleet.Node { return []fleet.Node{aNode()} }}
	h, err := New(Config{Fleet: nodes, Status: aStatus})
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"/", "/nodes/pi-1", "/relay", "/nodes/nobody"} {
		_, body := ask(t, h, "GET", page)
		asksNobodyElse(t, h, body)
	}
}

func asksNobodyElse(t *testing.T, h *Handler, body string) {
	t.Helper()
	inline := regexp.MustCompile(`(?i)\son\w+=|\sstyle=|<style|<script(?:[^>]*)>[^<]`)
	if m := inline.FindString(body); m != "" {
		t.Errorf("inline code or style: %q", m)
	}
	const licence = "/*! https://github.com/leeoniya/uPlot" // a comment
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		resp, text := ask(t, h, "GET", strings.ReplaceAll(m[1], "&amp;", "&"))
		if !strings.HasPrefix(m[1], "/") || resp.StatusCode != 200 || len(text) == 0 {
			t.Errorf("%s: %s", m[1], resp.Status)
		}
		if strings.HasPrefix(m[1], "/assets/") && strings.Contains(strings.NewReplacer("http://www.w3.org/", "", licence, "").Replace(text), "://") {
			t.Errorf("%s names another host", m[1])
		}
	}
}

func TestAPI(t *testing.T) {
	resp, body := get(t, []fleet.Node{aNode()}, aStatus(), "/api/nodes")
	if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", resp.Header)
	}
	want := `[{"name":"pi-1","state":"up","last_seen":"2026-03-01T11:59:57Z","seconds_since_seen":3,"interval_seconds":10,"address":"10.0.0.5","uptime_seconds":216000,"lines":1234,"lines_per_minute":48,` +
		`"cpu_percent":93,"cpu_mhz":1800,"ram_used_bytes":1073741824,"ram_total_bytes":4294967296,"ram_percent":25,"swap_used_bytes":0,"swap_total_bytes":0,"swap_percent":0,` +
		`"temperature_celsius":66.4,"temperature_sensor":"cpu_thermal","facts":{"architecture":"aarch64","boot_time":1772107200,"cores":4,"model":"Raspberry Pi 4","os":"Debian"}}]` + "\n"
	if d := cmp.Diff(want, body); d != "" {
		t.Error(d)
	}
	_, body = get(t, []fleet.Node{}, aStatus(), "/api/nodes")
	if body != "[]\n" {
		t.Errorf("no nodes: %q", body)
	}
	_, body = get(t, nil, aStatus(), "/api/status")
	var s Status
	if err := json.Unmarshal([]byte(body), &s); err != nil || s.Version != "1.2.3" || s.Ingest.Lines != 1234567 {
		t.Errorf("%v: %s", err, body)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	h, err := New(Config{Fleet: nodesOnly{nodes: func() []fleet.Node { return nil }}, Status: aStatus})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path string
		want         int
	}{{"GET", "/nowhere", 404}, {"GET", "/assets/../web.go", 307}, {"GET", "/assets/x/overview.html", 404}, {"GET", "/assets/x/live.js", 200}, {"GET", "/nodes/nobody", 404}, {"POST", "/", 405}, {"DELETE", "/api/nodes", 405}, {"HEAD", "/", 200}} {
		if resp, _ := ask(t, h, tt.method, tt.path); resp.StatusCode != tt.want {
			t.Errorf("%s %s: %s, want %d", tt.method, tt.path, resp.Status, tt.want)
		}
	}
}

func TestTexts(t *testing.T) {
	for got, want := range map[string]string{
		ago(0): "now", ago(60): "60 s ago", ago(120): "2 min ago", ago(7200): "2 h ago", ago(200000): "2 days ago",
		byteText(0): "0 B", byteText(999): "999 B", byteText(1536): "1.5 KB", byteText(4 << 30): "4 GB", byteText(3e15): "2728 TB",
		frequency(600): "600 MHz", frequency(2400): "2.4 GHz",
		count(0): "0", count(-1234): "-1\u202f234", count(1000000): "1\u202f000\u202f000",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	names := []string{"pi-10", "pi-9", "pi-010", "pi", "a2b", "a10b", "PI-1"}
	slices.SortStableFunc(names, natural)
	if d := cmp.Diff([]string{"PI-1", "a2b", "a10b", "pi", "pi-9", "pi-10", "pi-010"}, names); d != "" {
		t.Error(d)
	}
}

func TestSparkline(t *testing.T) {
	line, area := sparkline([]float32{0, 50, 100})
	if line != "96.6,23.0 98.3,12.0 100.0,1.0" || area != "96.6,24 "+line+" 100,24" {
		t.Errorf("%q, %q", line, area)
	}
	if line, _ := sparkline([]float32{1}); line != "" {
		t.Errorf("one point: %q", line)
	}
}

func TestAddANodeOffersAnAddressThatOthersReach(t *testing.T) {
	pi := func() (string, error) { return "pi-0", nil }
	nobody := func() (string, error) { return "", errors.New("no name") }
	tests := []struct {
		host, listen string
		hostname     func() (string, error)
		want         setupText
	}{
		{"relay.local:8186", ":8186", pi, setupText{"http://relay.local:8186", false, ":8186", "8186"}},
		{"127.0.0.1:8391", "127.0.0.1:8391", pi, setupText{"http://pi-0:8391", true, "127.0.0.1:8391", "8391"}},
		{"localhost:8391", ":8391", pi, setupText{"http://pi-0:8391", false, ":8391", "8391"}},
		{"[::1]:9000", "[::1]:0", pi, setupText{"http://pi-0:9000", true, "[::1]:0", "9000"}},
		{"localhost", ":80", pi, setupText{"http://pi-0", false, ":80", "80"}},
		{"localhost:8186", ":8186", nobody, setupText{"http://localhost:8186", false, ":8186", "8186"}},
		{"10.0.0.7:8186", "127.0.0.1:8187", pi, setupText{"http://10.0.0.7:8186", true, "127.0.0.1:8187", "8187"}},
	}
	for _, tt := range tests {
		if d := cmp.Diff(tt.want, setup(tt.host, tt.listen, tt.hostname)); d != "" {
			t.Errorf("%s: %s", tt.host, d)
		}
	}
	status := aStatus()
	status.Listen = "127.0.0.1:8391"
	_, body := get(t, nil, status, "/")
	contains(t, body, `listen = ":8391"`)
	contains(t, body, `mode = "required"`)
	if strings.Contains(body, "VITALS_TOKEN") || strings.Contains(body, "password") {
		t.Error("the page asks for a token that nobody checks")
	}
	status.Auth.Mode = auth.Required
	_, body = get(t, nil, status, "/")
	contains(t, body, `password = "${VITALS_TOKEN}"`, "vitals-relay token create --node NAME", "VITALS_TOKEN=vt_… vitals-agent --config", "its token as <code>password</code>", "sudo vitals-relay invite")
	if strings.Contains(body, "tls_pin") {
		t.Error("a key is pinned where there is none")
	}
}

func TestAddANodeTellsTheRelaysKey(t *testing.T) {
	status := aStatus()
	status.Pin = "sha256//AAAA"
	h, err := New(Config{
		Fleet: nodesOnly{nodes: func() []fleet.Node { return nil }}, Status: func() Status { return status }, Now: func() time.Time { return now },
		Pin: func(name string) string { return map[string]string{"relay.local": status.Pin}[name] },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "https://relay.local:8186/", nil)
	h.ServeHTTP(w, r)
	contains(t, w.Body.String(), `urls = ["https://relay.local:8186"]`, `tls_pin = "sha256//AAAA"`)
	_, body := ask(t, h, "GET", "/relay")
	contains(t, body, `<code class="pin">sha256//AAAA</code>`)
}

func TestFactsAreWhatPeopleRead(t *testing.T) {
	n := aNode()
	n.Facts["ram_bytes"], n.Facts["ram_total"], n.Facts["swap_total"] = int64(8<<30), int64(8<<30), int64(0)
	n.Facts["kernel"] = "6.6"
	if d := cmp.Diff("architecture: aarch64\ncores: 4\nkernel: 6.6\nmodel: Raspberry Pi 4\nos: Debian", factList(&n)); d != "" {
		t.Error(d)
	}
}
