package tests

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser is a tab of a real Chromium that notes what goes wrong in it.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	errors []string // of the console, and requests to other hosts
}

// newBrowser starts Chromium. Requests to another host than that of base count
// as errors.
func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.UserDataDir(profile(t)),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(2*time.Minute),
	)
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) { b.note(base, event) })
	if err := chromedp.Run(ctx, network.Enable()); err != nil {
		t.Fatalf("chromium (sh tests/install.sh installs it): %v", err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, e := range b.errors {
			t.Error("in the browser:", e)
		}
	})
	return b
}

// profile is a directory for a browser, whose helpers may write to it for a moment
// after it has ended.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vitals-browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, 30*time.Second, func() string {
			if err := os.RemoveAll(dir); err != nil {
				return err.Error()
			}
			return ""
		})
	})
	return dir
}

func (b *browser) note(base string, event any) {
	text := ""
	switch e := event.(type) {
	case *cdpruntime.EventExceptionThrown:
		text = e.ExceptionDetails.Error()
	case *cdpruntime.EventConsoleAPICalled:
		if e.Type == cdpruntime.APITypeError || e.Type == cdpruntime.APITypeWarning {
			text = fmt.Sprintf("console: %s", e.Args[0].Value)
		}
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, base+"/") {
			text = fmt.Sprintf("a request to %.80s", e.Request.URL)
		}
	}
	if text != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.errors = append(b.errors, text)
	}
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// value evaluates JavaScript that has a value.
func value[T any](b *browser, script string) (v T) {
	b.t.Helper()
	b.do(chromedp.Evaluate(script, &v))
	return v
}

// until waits for JavaScript to be true.
func (b *browser) until(within time.Duration, script string) {
	b.t.Helper()
	eventually(b.t, within, func() string {
		if value[bool](b, script) {
			return ""
		}
		return script
	})
}

// screen sets the size and the colours of the screen.
func (b *browser) screen(width, height int64, colours string) {
	b.t.Helper()
	b.do(
		emulation.SetDeviceMetricsOverride(width, height, 1, width < 500),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours}}),
	)
}

// picture requires that nothing on the page is wider than the screen, and keeps
// what it looks like where VITALS_SCREENSHOTS says.
func (b *browser) picture(name string) {
	b.t.Helper()
	if wide := value[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
		b.t.Errorf("%s: the page is %d pixels wider than the screen", name, wide)
	}
	dir := os.Getenv("VITALS_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	b.do(chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}

// write writes lines to a relay as a node's agent does.
func write(t *testing.T, relay, lines string) {
	t.Helper()
	resp, err := http.Post(relay+"/write?db=node_vitals", "text/plain", strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 204 {
		t.Fatalf("a write is answered %s", resp.Status)
	}
}

// vitalsOf are the lines of one node.
func vitalsOf(host string, percent float64) string {
	return strings.ReplaceAll(fmt.Sprintf(`cpu,cpu=cpu-total,host=HOST,site=basel usage_idle=%[1]g,frequency_mhz=1500
mem,host=HOST,site=basel total=4000000000i,used=1500000000i,available=2500000000i,used_percent=37.5
swap,host=HOST,site=basel total=100000000i,used=10000000i,free=90000000i,used_percent=10
temp,host=HOST,sensor=cpu_thermal,site=basel temp=%[2]g
system,host=HOST,site=basel load1=0.7,n_cpus=4i
system,host=HOST,site=basel uptime=%[3]di
disk,fstype=ext4,host=HOST,path=/,site=basel total=32000000000i,used=9000000000i,used_percent=28
node_info,host=HOST,site=basel model="Raspberry Pi 4 Model B Rev 1.4",architecture="aarch64",os="Debian GNU/Linux 12 (bookworm)",cores=4i
`, 100-percent, 35+percent/2, time.Now().Unix()-1_700_000_000), "HOST", host)
}

func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	relay := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	m.file("node.toml", fmt.Sprintf("[relay]\nlisten = %q\ndata_directory = \"$DIR/data\"\n", strings.TrimPrefix(relay, "http://")))
	m.start("vitals-relay", "--config", "node.toml")
	eventually(t, 60*time.Second, func() string {
		if status, body := get(t, relay+"/"); status != 200 {
			return body
		}
		return ""
	})
	b := newBrowser(t, relay)
	b.screen(1280, 900, "light")

	b.do(chromedp.Navigate(relay+"/"), chromedp.WaitVisible(".welcome"))
	b.picture("empty")

	// The first lines of a node show it, without loading the page again.
	b.do(chromedp.Evaluate(`window.loadedOnce = true`, nil))
	for i := range 12 {
		write(t, relay, vitalsOf(fmt.Sprintf("pi-%02d", i+1), float64(5+7*i)))
	}
	const named = `document.querySelector('[data-key="%s"]') !== null`
	b.until(30*time.Second, fmt.Sprintf(named, "pi-12"))
	b.until(30*time.Second, `document.querySelector(".summary .up")?.textContent === "12"`)
	if !value[bool](b, `window.loadedOnce === true`) {
		t.Error("the page was loaded again")
	}

	// A name is never HTML.
	write(t, relay, `mem,host=<img\ src\=x\ onerror\=window.hacked\=1> used_percent=1`+"\n")
	b.until(30*time.Second, `[...document.querySelectorAll(".card h2")].some((h) => h.textContent.includes("<img src=x onerror=window.hacked=1>"))`)
	if value[bool](b, `window.hacked !== undefined || document.querySelector(".card img") !== null`) {
		t.Error("a node's name became HTML")
	}

	pageByKeyboard(b)
	pagesOnEveryScreen(b, relay)
}

// pageByKeyboard filters, groups and opens a node without a mouse.
func pageByKeyboard(b *browser) {
	b.t.Helper()
	const shown = `[...document.querySelectorAll(".card:not([hidden])")].map((c) => c.dataset.key).join()`
	slash := input.DispatchKeyEvent(input.KeyRawDown).WithKey("/") // the page takes it before it becomes a character
	b.do(slash, chromedp.KeyEvent("pi-0"))
	b.until(10*time.Second, shown+` === "pi-01,pi-02,pi-03,pi-04,pi-05,pi-06,pi-07,pi-08,pi-09"`)
	b.do(chromedp.KeyEvent("nothing"))
	b.until(10*time.Second, `!document.getElementById("nothing").hidden`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.do(chromedp.Focus("#group"), chromedp.KeyEvent("site"))
	b.until(10*time.Second, `[...document.querySelectorAll(".group-of > h2")].map((h) => h.textContent).join() === "no site,basel"`)
	b.do(chromedp.Focus("#group"), chromedp.KeyEvent(kb.ArrowUp))
	b.until(10*time.Second, `document.querySelector(".group-of") === null`)
	b.do(chromedp.Focus(`[data-key="pi-03"] a`), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(".title h1"))
	b.until(60*time.Second, `document.querySelectorAll("#charts figure:not([hidden]) canvas").length === 6`)
	b.until(10*time.Second, `/At\s*latest\s*CPU\s*[0-9.]+ %/.test(document.querySelector('[data-vital="cpu_percent"] .u-legend').textContent)`)
	if got := value[string](b, `document.querySelector(".title h1").textContent`); got != "pi-03" {
		b.t.Errorf("opened: %s", got)
	}
	b.do(chromedp.KeyEvent(kb.Escape), chromedp.WaitVisible("#nodes"))
}

// pagesOnEveryScreen looks at every page on a phone, a desk and a wall, in both
// colours.
func pagesOnEveryScreen(b *browser, relay string) {
	b.t.Helper()
	for _, colours := range []string{"light", "dark"} {
		for _, width := range []int64{360, 1280, 3840} {
			b.screen(width, max(800, width*9/16), colours)
			for page, ready := range map[string]string{
				"/": ".card", "/nodes/pi-03": "#charts figure:not([hidden]) canvas", "/relay": ".relay-live",
			} {
				b.do(chromedp.Navigate(relay+page), chromedp.WaitVisible(ready))
				b.picture(fmt.Sprintf("%s-%d-%s", strings.NewReplacer("/nodes/pi-03", "node", "/relay", "relay", "/", "overview").Replace(page), width, colours))
			}
		}
	}
}

// Killing an agent turns its node late, then down, without loading the page
// again.
func TestPageShowsAKilledAgent(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	relay := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	m.file("node.toml", fmt.Sprintf(`
[agent]
  interval = "1s"
  flush_interval = "1s"
  hostname = "victim"
[[inputs.ram]]
[[outputs.influxdb]]
  urls = [%q]
  database = "node_vitals"
  skip_database_creation = true
[relay]
  listen = %q
  data_directory = "$DIR/data"
[relay.fleet]
  late_after = "8s"
  down_after = "30s"
`, relay, strings.TrimPrefix(relay, "http://")))
	m.start("vitals-relay", "--config", "node.toml")
	agent := m.start("vitals-agent", "--config", "node.toml")
	b := newBrowser(t, relay)
	eventually(t, 60*time.Second, func() string {
		if status, body := get(t, relay+"/api/nodes/victim"); status != 200 {
			return body
		}
		return ""
	})
	b.do(chromedp.Navigate(relay+"/"), chromedp.WaitVisible(`[data-key="victim"]`), chromedp.Evaluate(`window.loadedOnce = true`, nil))
	state := func(want string) {
		t.Helper()
		b.until(60*time.Second, fmt.Sprintf(`document.querySelector('[data-key="victim"]').classList.contains(%q)`, want))
	}
	state("up")
	agent.kill()
	state("late")
	state("down")
	b.until(30*time.Second, `document.querySelector(".summary .down")?.textContent === "1"`)
	b.until(30*time.Second, `[...document.querySelectorAll(".recently .down")].some((e) => e.textContent.includes("victim"))`)
	if !value[bool](b, `window.loadedOnce === true`) {
		t.Error("the page was loaded again")
	}
}

// Where tokens are required, nothing is shown before one is.
func TestSignInInABrowser(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	relay := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	m.file("node.toml", fmt.Sprintf("[relay]\nlisten = %q\ndata_directory = \"$DIR/data\"\n[relay.auth]\nmode = \"required\"\n", strings.TrimPrefix(relay, "http://")))
	m.start("vitals-relay", "--config", "node.toml")
	token := ""
	eventually(t, 60*time.Second, func() string {
		stdout, stderr, code := run(t, m.command("vitals-relay", "token", "create", "--role", "read"))
		for _, word := range strings.Fields(stdout) {
			if strings.HasPrefix(word, "vt_") {
				token = word
			}
		}
		if code != 0 || token == "" {
			return stdout + stderr
		}
		return ""
	})
	for _, path := range []string{"/", "/nodes/a", "/relay", "/live?version=1-1", "/live/relay", "/api/nodes", "/api/events", "/api/status", "/api/placement"} {
		if status, body := get(t, relay+path); status != 401 {
			t.Errorf("%s is shown to a stranger: %d %.80s", path, status, body)
		}
	}
	b := newBrowser(t, relay)
	b.do(chromedp.Navigate(relay+"/relay"), chromedp.WaitVisible("#token"))
	b.do(chromedp.SendKeys("#token", "vt_wrong_token"+kb.Enter), chromedp.WaitVisible(".signin .error"))
	b.do(chromedp.Navigate(relay+"/relay"), chromedp.WaitVisible("#token"))
	b.do(chromedp.SendKeys("#token", token+kb.Enter), chromedp.WaitVisible(".relay-live"))
	b.do(chromedp.Navigate(relay+"/"), chromedp.WaitVisible(".welcome"))
	b.until(30*time.Second, `document.getElementById("pulse").textContent === "live"`)
	if strings.Contains(value[string](b, `document.cookie`), "vitals") {
		t.Error("a script can read the session")
	}
	b.do(chromedp.Click(".signout button"), chromedp.WaitVisible("#token"))
	b.do(chromedp.Navigate(relay+"/"), chromedp.WaitVisible("#token"))

	// A token that is revoked takes the page away that is open.
	b.do(chromedp.SendKeys("#token", token+kb.Enter), chromedp.WaitVisible(".welcome"))
	if stdout, stderr, code := run(t, m.command("vitals-relay", "token", "revoke", strings.Split(token, "_")[1])); code != 0 {
		t.Fatal(stdout + stderr)
	}
	b.do(chromedp.WaitVisible("#token"))
}

// What a destination has refused is sent again from the relay's page.
func TestRefusedLinesAreSentAgainInABrowser(t *testing.T) {
	t.Parallel()
	var takes atomic.Bool
	var stored atomic.Int64
	influx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/write":
			fmt.Fprint(w, `{"results":[{"statement_id":0}]}`)
		case takes.Load():
			stored.Add(1)
			w.WriteHeader(204)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":"partial write: field type conflict: input field \"v\" on measurement \"m\" is type float, already exists as type string dropped=1"}`)
		}
	}))
	defer influx.Close()
	m := newMachine(t)
	relay := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	m.file("node.toml", fmt.Sprintf(`
[relay]
listen = %q
data_directory = "$DIR/data"
[[relay.destinations]]
name = "influxdb"
url = %q
`, strings.TrimPrefix(relay, "http://"), influx.URL))
	m.start("vitals-relay", "--config", "node.toml")
	eventually(t, 60*time.Second, func() string {
		if status, body := get(t, relay+"/"); status != 200 {
			return body
		}
		return ""
	})
	write(t, relay, "m,host=a v=1 1700000000000000000\n")
	b := newBrowser(t, relay)
	b.do(chromedp.Navigate(relay+"/relay"), chromedp.WaitVisible(".relay-live .button"))
	if got := value[string](b, `document.querySelector(".relay-live").textContent`); !strings.Contains(got, "field type conflict") {
		t.Errorf("the reason is not shown: %s", got)
	}
	b.picture("refused")
	takes.Store(true)
	before := stored.Load()
	b.do(chromedp.Click(".relay-live .button"), chromedp.WaitVisible(".note"))
	if got := value[string](b, `document.querySelector(".note").textContent`); got != "The lines are stored." || stored.Load() == before {
		t.Errorf("%q, %d writes", got, stored.Load()-before)
	}
	b.until(30*time.Second, `document.querySelector(".relay-live .button") === null`)
}

// Ages on a page are right whatever the viewer's clock shows, also when it is set.
func TestAgesGoByTheRelaysClock(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	relay := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	m.file("node.toml", fmt.Sprintf("[relay]\nlisten = %q\ndata_directory = \"$DIR/data\"\n", strings.TrimPrefix(relay, "http://")))
	m.start("vitals-relay", "--config", "node.toml")
	eventually(t, 60*time.Second, func() string {
		if status, body := get(t, relay+"/"); status != 200 {
			return body
		}
		return ""
	})
	b := newBrowser(t, relay)
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`const real = Date.now; window.ahead = 3600e3; Date.now = () => real() + window.ahead`).Do(ctx)
		return err
	}))
	for path, of := range map[string]string{"/": ".card", "/nodes/pi": ".title"} {
		write(t, relay, "mem,host=pi used_percent=1\n")
		b.do(chromedp.Navigate(relay+path), chromedp.WaitVisible(of))
		recent := fmt.Sprintf(`/^(\d+ s|\d min) ago$/.test(document.querySelector("%s time").textContent)`, of)
		b.until(time.Minute, recent)
		b.do(chromedp.Evaluate(`window.ahead = 0`, nil))
		b.until(time.Minute, recent)
	}
}
