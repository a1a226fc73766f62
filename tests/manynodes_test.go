package tests

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
		if lines.Text() == "event: card" {
			cards.Add(1)
		}
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
	b := newBrowser(t, relay)
	b.screen(1920, 1080, "light")
	b.do(chromedp.Navigate(relay+"/"), chromedp.WaitVisible("#filter"))
	b.until(2*time.Minute, fmt.Sprintf(`document.querySelectorAll(".card").length === %d`, manyNodes))

	var travelled, cards atomic.Int64
	_, page := get(t, relay+"/")
	_, version, _ := strings.Cut(page, `data-version="`)
	version, _, _ = strings.Cut(version, `"`)
	go viewer(t, relay+"/live?version="+version, &travelled, &cards)
	start := time.Now()
	began := resident(t, p.cmd.Process.Pid)
	eventually(t, 2*time.Minute, func() string { // each of them at least once
		if n := cards.Load(); n < manyNodes {
			return fmt.Sprintf("%d cards were sent", n)
		}
		return ""
	})
	perSecond := float64(travelled.Load()) / time.Since(start).Seconds()

	b.do(chromedp.Navigate(relay+"/"), chromedp.WaitVisible("#filter"))
	interactive := value[float64](b, `performance.getEntriesByType("navigation")[0].domInteractive`)
	b.do(chromedp.SendKeys("#filter", "node-1234"))
	b.until(30*time.Second, `[...document.querySelectorAll(".card:not([hidden])")].map((c) => c.dataset.key).join() === "node-1234"`)
	b.picture("two-thousand")
	t.Logf("a viewer is sent %.1f KB/s for %.0f cards a second; the page, %d KB of HTML, is interactive after %.0f ms; the relay has %d MB, %d MB before the viewers",
		perSecond/1e3, float64(cards.Load())/time.Since(start).Seconds(), len(page)>>10, interactive, resident(t, p.cmd.Process.Pid)>>20, began>>20)
	if perSecond > viewerBudget {
		t.Errorf("a viewer is sent %.0f bytes a second", perSecond)
	}
}
