package tests

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
)

const (
	manyNodes = 2000
	// viewerBudget is what a viewer's stream may take, in bytes a second.
	viewerBudget = 50_000
)

// fleetOf writes the vitals of many nodes, each every ten seconds, spread over
// them as a fleet's flushes are, until ctx ends.
func fleetOf(ctx context.Context, t *testing.T, relay string) {
	const slices = 20 // every half second a slice of the fleet
	tick := time.NewTicker(10 * time.Second / slices)
	defer tick.Stop()
	for n := 0; ; n++ {
		for host := n % slices; host < manyNodes; host += slices {
			lines := vitalsOf(fmt.Sprintf("node-%04d", host), float64((host*7+n)%100))
			if n >= slices { // facts come once
				lines, _, _ = strings.Cut(lines, "node_info")
			}
			resp, err := http.Post(relay+"/write?db=node_vitals", "text/plain", strings.NewReader(lines))
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 204 {
				t.Errorf("a write is answered %s", resp.Status)
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// viewer listens to the stream of the overview as a browser does, compressed,
// and counts what travels.
func viewer(t *testing.T, url string, travelled, cards *atomic.Int64) {
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	plain, err := gzip.NewReader(counted{resp.Body, travelled})
	if err != nil {
		t.Error(err)
		return
	}
	lines := bufio.NewScanner(plain)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		cards.Add(int64(strings.Count(lines.Text(), "data-key=")))
	}
}

type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// resident is a process's memory in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kb int64
	for line := range bytes.Lines(status) {
		if bytes.HasPrefix(line, []byte("VmRSS:")) {
			fmt.Sscanf(string(line), "VmRSS: %d kB", &kb)
		}
	}
	return kb << 10
}

// Two thousand nodes, each every ten seconds: the page works, and who watches
// it costs little.
func TestTwoThousandNodes(t *testing.T) {
	m := newMachine(t)
	relay := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	m.file("node.toml", fmt.Sprintf("[relay]\nlisten = %q\ndata_directory = \"$DIR/data\"\n", strings.TrimPrefix(relay, "http://")))
	p := m.start("vitals-relay", "--config", "node.toml")
	eventually(t, 60*time.Second, func() string {
		if status, body := get(t, relay+"/"); status != 200 {
			return body
		}
		return ""
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); fleetOf(ctx, t, relay) }()
	defer func() { cancel(); <-done }()
	front, streams := streamGate(t, relay)
	b := newBrowser(t, front)
	b.screen(1920, 1080, "light")
	b.do(chromedp.Navigate(front+"/"), chromedp.WaitVisible("#filter"))
	b.until(5*time.Minute, allCards)

	var travelled, cards atomic.Int64
	_, page := get(t, relay+"/")
	_, version, _ := strings.Cut(page, `data-version="`)
	version, _, _ = strings.Cut(version, `"`)
	go viewer(t, relay+"/live?version="+version, &travelled, &cards)
	start := time.Now()
	began := resident(t, p.cmd.Process.Pid)
	eventually(t, 5*time.Minute, func() string { // each of them at least once
		if n := cards.Load(); n < manyNodes {
			return fmt.Sprintf("%d cards were sent", n)
		}
		return ""
	})
	perSecond := float64(travelled.Load()) / time.Since(start).Seconds()
	t.Logf("a viewer is sent %.1f KB/s for %.0f cards a second; the relay has %d MB, %d MB before the viewers",
		perSecond/1e3, float64(cards.Load())/time.Since(start).Seconds(), resident(t, p.cmd.Process.Pid)>>20, began>>20)
	if perSecond > viewerBudget {
		t.Errorf("a viewer is sent %.0f bytes a second", perSecond)
	}

	before := spent(b)
	b.do(chromedp.Navigate(front+"/"), chromedp.WaitVisible("#filter"))
	at := spent(b)
	interactive := value[float64](b, `performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd`)
	b.until(5*time.Minute, allCards)
	filled := spent(b)
	t.Logf("the page, %d KB of HTML, is interactive after %.0f ms of which %s; all cards are there after %.0f ms of which %s",
		len(page)>>10, interactive, at.since(before), value[float64](b, `performance.now()`), filled.since(before))
	b.picture("two-thousand")
	aPageThatFills(b, front, streams)
}

// allCards is true in the browser once every node has its card, in its place.
const allCards = `document.querySelectorAll(".card").length === 2000 && !document.querySelector("#live[data-partial]")`

// streamGate is a way to the relay on which streams wait while it is locked.
func streamGate(t *testing.T, relay string) (front string, streams *sync.RWMutex) {
	t.Helper()
	to, err := url.Parse(relay)
	if err != nil {
		t.Fatal(err)
	}
	streams = &sync.RWMutex{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0) // of streams that the browser ends
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/live" {
			streams.RLock()
			streams.RUnlock() //nolint:staticcheck // it has waited
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL, streams
}

// aPageThatFills has a page wait for its stream: filter and groups are right while
// cards are still to come, and afterwards.
func aPageThatFills(b *browser, relay string, streams *sync.RWMutex) {
	b.t.Helper()
	streams.Lock()
	release := sync.OnceFunc(streams.Unlock)
	defer release()
	b.do(chromedp.Navigate(relay+"/"), chromedp.SendKeys("#filter", "node-1999"))
	b.until(5*time.Minute, `document.getElementById("group").options.length > 1`)
	b.do(chromedp.SetValue("#group", "site"), chromedp.Evaluate(`document.getElementById("group").dispatchEvent(new Event("change"))`, nil))
	if !value[bool](b, `document.querySelector("#live[data-partial]") !== null && document.getElementById("nothing").hidden`) {
		b.t.Error("no node is said to match although some are still to come")
	}
	release()
	b.until(5*time.Minute, allCards)
	b.until(2*time.Minute, `[...document.querySelectorAll(".card:not([hidden])")].map((c) => c.dataset.key).join() === "node-1999"`)
	if !value[bool](b, `document.querySelectorAll('.group-of[data-group="basel"] > .card').length === 2000 && document.getElementById("nothing").hidden`) {
		b.t.Error("not all cards are in their group")
	}
	b.do(chromedp.SendKeys("#filter", "x"))
	b.until(2*time.Minute, `!document.getElementById("nothing").hidden`)
	b.do(chromedp.SetValue("#group", ""), chromedp.Evaluate(`document.getElementById("group").dispatchEvent(new Event("change"))`, nil))
	b.until(2*time.Minute, `(() => {
		const order = [...document.querySelectorAll("#nodes > .card")].map((c) => c.dataset.rank + c.dataset.key);
		return order.length === 2000 && order.every((o, i) => i === 0 || order[i - 1] < o);
	})()`)
}

// work is the time that a browser's tab has spent.
type work struct{ script, layout, style, task float64 }

func spent(b *browser) (w work) {
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		if err := performance.Enable().Do(ctx); err != nil {
			return err
		}
		metrics, err := performance.GetMetrics().Do(ctx)
		for _, m := range metrics {
			switch m.Name {
			case "ScriptDuration":
				w.script = m.Value
			case "LayoutDuration":
				w.layout = m.Value
			case "RecalcStyleDuration":
				w.style = m.Value
			case "TaskDuration":
				w.task = m.Value
			}
		}
		return err
	}))
	return w
}

func (w work) since(v work) string {
	return fmt.Sprintf("%.0f ms at work (script %.0f, style %.0f, layout %.0f)", (w.task-v.task)*1e3, (w.script-v.script)*1e3, (w.style-v.style)*1e3, (w.layout-v.layout)*1e3)
}
