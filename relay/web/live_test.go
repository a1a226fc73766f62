package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/relay/fleet"
)

// scene is a board whose nodes and clock a test moves.
type scene struct {
	*Handler
	t     *testing.T
	nodes []fleet.Node
	clock time.Time
	asked int
}

func newScene(t *testing.T, nodes ...fleet.Node) *scene {
	t.Helper()
	s := &scene{t: t, nodes: nodes, clock: now}
	h, err := New(Config{
		Fleet:  nodesOnly{nodes: func() []fleet.Node { s.asked++; return slices.Clone(s.nodes) }},
		Status: aStatus, Now: func() time.Time { return s.clock },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Handler = h
	return s
}

func up(name string) fleet.Node { return fleet.Node{Name: name, State: fleet.Up, LastSeen: now} }

// since returns what a viewer is sent, a second later.
func (s *scene) since(version uint64) update {
	s.t.Helper()
	s.clock = s.clock.Add(time.Second)
	u, err := s.board.since(s.board.epoch, version, false)
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

func TestViewersAreSentWhatHasChanged(t *testing.T) {
	s := newScene(t, up("a"), up("b"))
	first := s.since(0)
	if len(first.Cards) != 2 || first.Summary == "" || first.Reload {
		t.Fatalf("%+v", first)
	}
	if u := s.since(first.Version); u.Version != first.Version || len(u.Cards) != 0 || u.Summary != "" {
		t.Errorf("nothing has changed: %+v", u)
	}
	s.nodes[0].LastSeen = now.Add(time.Second)
	second := s.since(first.Version)
	if len(second.Cards) != 1 || !strings.Contains(second.Cards[0], `data-key="a"`) {
		t.Errorf("%q", second.Cards)
	}
	s.nodes[1].State = fleet.Down
	third := s.since(second.Version)
	if len(third.Cards) != 1 || !strings.Contains(third.Cards[0], `data-key="b"`) || !strings.Contains(third.Summary, `<b class="down">1</b>`) {
		t.Errorf("%+v", third)
	}
	s.nodes = s.nodes[:1]
	if u := s.since(third.Version); cmp.Diff([]string{"b"}, u.Gone) != "" || len(u.Cards) != 0 {
		t.Errorf("%+v", u)
	}
	if u := s.since(first.Version); len(u.Cards) != 1 || cmp.Diff([]string{"b"}, u.Gone) != "" {
		t.Errorf("who was away: %+v", u)
	}
	s.nodes = append(s.nodes, up("b"))
	if u := s.since(first.Version); len(u.Cards) != 2 || len(u.Gone) != 0 {
		t.Errorf("who was away when a node went and came back: %+v", u)
	}
}

func TestViewersOfAnotherRunBeginAnew(t *testing.T) {
	s := newScene(t, up("a"))
	version := s.since(0).Version
	f := func(epoch int64, version uint64) {
		t.Helper()
		if u, err := s.board.since(epoch, version, false); err != nil || !u.Reload {
			t.Errorf("%+v, %v", u, err)
		}
	}
	f(s.board.epoch-1, version)
	f(s.board.epoch, version+1)
	for i := range 60 { // cards become smaller
		s.nodes = append(s.nodes, up(fmt.Sprint(i)))
	}
	if u := s.since(version); !u.Reload {
		t.Errorf("%+v", u)
	}
	s.board.gone = make([]departed, maxGone)
	s.board.gone[0].version = s.board.version + 1
	f(s.board.epoch, s.board.version)
}

func TestTheBoardIsMadeOnceASecond(t *testing.T) {
	s := newScene(t, up("a"))
	s.since(0)
	asked := s.asked
	for range 5 {
		if _, err := s.board.since(s.board.epoch, 0, false); err != nil {
			t.Fatal(err)
		}
	}
	if s.asked != asked {
		t.Errorf("%d times more", s.asked-asked)
	}
}

func TestSizes(t *testing.T) {
	f := func(nodes int, want size) {
		t.Helper()
		if got := sizeFor(nodes); got != want {
			t.Errorf("%d nodes: %q, want %q", nodes, got, want)
		}
	}
	f(0, large)
	f(48, large)
	f(49, dense)
	f(121, tiny)
}

// A page of many nodes has the first of them; the stream brings the others, for
// who is cut off meanwhile once more, and without a script there is a link.
func TestAPageOfManyNodesBeginsWithSome(t *testing.T) {
	var nodes []fleet.Node
	for i := range atOnce + 2*chunk + 1 {
		nodes = append(nodes, up(fmt.Sprintf("node-%04d", i)))
	}
	last := &nodes[len(nodes)-1]
	last.State = fleet.Down
	s := newScene(t, nodes...)
	_, page := ask(t, s, "GET", "/")
	if n := strings.Count(page, "<article"); n != atOnce {
		t.Errorf("%d cards at first", n)
	}
	contains(t, page, `data-key="`+last.Name+`"`, fmt.Sprintf(`data-partial="%d"`, 2*chunk+1), `<b class="up">440</b>`, `<a href="/?all">`, "201 more nodes")
	_, page = ask(t, s, "GET", "/?all")
	if n := strings.Count(page, "<article"); n != len(nodes) || strings.Contains(page, "data-partial") {
		t.Errorf("%d of %d cards for who wants all", n, len(nodes))
	}
	_, version, _ := strings.Cut(page, `data-version="`)
	version, _, _ = strings.Cut(version, `"`)

	server := httptest.NewServer(s)
	defer server.Close()
	first := s.first(server.URL+"/live?all&version="+version, "")
	if n := strings.Count(first, `data-key=\"`); n != len(nodes) || strings.Count(first, "event: cards\n") != len(nodes)/chunk+1 {
		t.Errorf("%d cards of %d in %d events", n, len(nodes), strings.Count(first, "event: cards\n"))
	}
	if cards, id := strings.LastIndex(first, "event: cards\n"), strings.Index(first, "id: "); id < cards || !strings.Contains(first[cards:], "event: complete\n") {
		t.Errorf("who is cut off goes on from where it is not: %d, %d", cards, id)
	}
	if again := s.first(server.URL+"/live?all&version="+version, version); strings.Contains(again, "event: ") {
		t.Errorf("who has all is sent %.200q", again)
	}
}

// first is what a stream sends at first, all that is there.
func (s *scene) first(url, lastID string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	stopping := make(chan struct{})
	close(stopping)
	s.config.Stopping = stopping
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}

// read returns the data of the next event of a name.
func read(t *testing.T, lines *bufio.Scanner, name string) string {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == "event: "+name && lines.Scan() {
			var text string
			if err := json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: ")), &text); err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	t.Fatalf("no event %q: %v", name, lines.Err())
	return ""
}

func TestStreams(t *testing.T) {
	h, view := api(t)
	server := httptest.NewServer(h)
	defer server.Close()
	listen := func(path string) (*bufio.Scanner, io.Closer) {
		t.Helper()
		resp, err := http.Get(server.URL + path) // asks for gzip and undoes it
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 || !resp.Uncompressed || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s: %s, compressed: %v, %v", path, resp.Status, resp.Uncompressed, resp.Header)
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		return lines, resp.Body
	}
	_, page := ask(t, h, "GET", "/")
	_, version, _ := strings.Cut(page, `data-version="`)
	version, _, _ = strings.Cut(version, `"`)
	lines, end := listen("/live?version=" + version)
	offer(view, "mem,host=late-comer used_percent=1\n")
	if html := read(t, lines, "cards"); !strings.Contains(html, "late-comer") {
		t.Error(html)
	}
	end.Close()
	lines, end = listen("/live?version=1-1")
	for lines.Scan() && lines.Text() != "event: reload" {
	}
	if lines.Text() != "event: reload" {
		t.Error("a page of another run is not told to load again")
	}
	end.Close()
	lines, end = listen("/live/nodes/pi-1")
	if html := read(t, lines, "node"); !strings.Contains(html, "under-voltage") {
		t.Error(html)
	}
	end.Close()
	lines, end = listen("/live/relay")
	if html := read(t, lines, "relay"); !strings.Contains(html, "influxdb") {
		t.Error(html)
	}
	end.Close()
	if resp, _ := ask(t, h, "GET", "/live?version=x"); resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
}

func TestPagesTravelCompressed(t *testing.T) {
	h, _ := api(t)
	server := httptest.NewServer(h)
	defer server.Close()
	f := func(path, want string) {
		t.Helper()
		resp, err := http.Get(server.URL + path) // asks for gzip and undoes it
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || !resp.Uncompressed || !strings.Contains(string(body), want) {
			t.Errorf("%s: %v, compressed: %v, %.100s", path, err, resp.Uncompressed, body)
		}
	}
	f("/", `data-key="pi-1"`)
	f("/nodes/pi-1", "<h1>pi-1</h1>")
	f("/nodes/nobody", "no node nobody")
	f("/relay", "Where the lines go")
	f("/assets/x/style.css", ".card")
}

func TestStreamsAreBounded(t *testing.T) {
	h, _ := api(t)
	h.streams.Store(maxStreams)
	resp, _ := ask(t, h, "GET", "/live/relay")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || h.streams.Load() != maxStreams {
		t.Errorf("%s, %d", resp.Status, h.streams.Load())
	}
}

func TestCards(t *testing.T) {
	f := func(name string, change func(*fleet.Node), rank int, badges ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			n := up("a")
			change(&n)
			c := newCard(&n, large)
			if d := cmp.Diff(badges, c.Badges); d != "" || c.Rank != rank {
				t.Errorf("rank %d, want %d; %s", c.Rank, rank, d)
			}
		})
	}
	f("up", func(n *fleet.Node) {}, 4)
	f("down", func(n *fleet.Node) { n.State = fleet.Down }, 0)
	f("late", func(n *fleet.Node) { n.State = fleet.Late }, 1)
	f("retired", func(n *fleet.Node) { n.State = fleet.Retired }, 5)
	f("hot", func(n *fleet.Node) { n.TemperatureCelsius = num(80) }, 3)
	f("conflict", func(n *fleet.Node) { n.Conflict = []string{"a", "b"} }, 2, "name conflict")
	f("throttled", func(n *fleet.Node) { n.Throttling = []string{"under-voltage"} }, 2, "under-voltage")
	f("collectors", func(n *fleet.Node) {
		n.Collectors = []fleet.Collector{{ID: "cpu", State: "ok"}, {ID: "dice", State: "failed"}}
	}, 2, "collectors fail")
	f("disk", func(n *fleet.Node) { n.DiskPercent = num(95) }, 2, "disk full")
	f("news", func(n *fleet.Node) { n.New, n.Outdated, n.RebootedAt, n.ClockSkewSeconds = true, true, now, num(5) }, 4, "clock differs", "rebooted", "new", "outdated")
}
