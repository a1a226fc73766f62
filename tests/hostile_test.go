package tests

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// target is a relay that is attacked while somebody else writes to it.
type target struct {
	*machine
	address string
	relay   *process
	written atomic.Int64
}

func newTarget(t *testing.T) *target {
	t.Helper()
	m := &target{machine: newMachine(t)}
	m.address = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	config := m.file("node.toml", fmt.Sprintf(`
[relay]
  listen = %q
  data_directory = "$DIR/data/relay"
[relay.provision]
  enabled = false
[relay.queue]
  min_free_bytes = 0
[relay.limits]
  header_timeout = "6s"
  body_silence = "6s"
  min_rate = 100
  max_connections = 600
  max_connections_per_address = 300
`, m.address))
	m.relay = m.start("vitals-relay", "--config", config)
	eventually(t, 60*time.Second, func() string {
		_, body := get(t, "http://"+m.address+"/ready")
		if strings.Contains(body, `"ready"`) {
			return ""
		}
		return body
	})
	return m
}

// goodClient writes until the test is over; whatever others do, it gets 204.
func (m *target) goodClient() (stop func()) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 60 * time.Second}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(20 * time.Millisecond):
			}
			n := m.written.Load()
			resp, err := client.Post("http://"+m.address+"/write?db=good", "", strings.NewReader(fmt.Sprintf("good n=%di %d\n", n, 1700000000000000000+n)))
			if err != nil {
				m.t.Errorf("a good client: %v", err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != 204 {
				m.t.Errorf("a good client is answered %s", resp.Status)
			}
			m.written.Add(1)
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

// attacker is a connection from another address than the good client's.
func (m *target) attacker(t *testing.T, from int) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(from))}, Timeout: 30 * time.Second}
	c, err := d.Dial("tcp", m.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	return c
}

// attack sends pieces of a request, waiting between them, and returns the status
// and the text of the first answer; "closed" if there is none. What is written
// after the answer may fail.
func (m *target) attack(t *testing.T, wait time.Duration, pieces ...string) (status, body string) {
	t.Helper()
	c := m.attacker(t, 1)
	go func() {
		for _, piece := range pieces {
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
			time.Sleep(wait)
		}
	}()
	return answerOf(t, bufio.NewReader(c))
}

func answerOf(t *testing.T, r *bufio.Reader) (status, body string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return "closed", err.Error()
	}
	text, _ := io.ReadAll(resp.Body) // what was said before it broke off counts
	if resp.StatusCode >= 500 {
		noDropPhrase(t, string(text)+resp.Header.Get("X-Influxdb-Error"))
	}
	return fmt.Sprint(resp.StatusCode), string(text)
}

// noDropPhrase: with any of these words Telegraf throws a batch away.
func noDropPhrase(t *testing.T, text string) {
	t.Helper()
	for _, phrase := range []string{"partial write", "unable to parse", "points beyond retention policy", "retention policy not found", "hinted handoff queue not empty"} {
		if strings.Contains(text, phrase) {
			t.Errorf("a 5xx holds %q: %s", phrase, text)
		}
	}
}

func post(path, headers, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", path, headers, len(body), body)
}

func TestHostileInput(t *testing.T) {
	t.Parallel()
	m := newTarget(t)
	stop := m.goodClient()
	t.Run("bombs", func(t *testing.T) { hostileBombs(t, m) })
	t.Run("lines", func(t *testing.T) { hostileLines(t, m) })
	t.Run("slow clients", func(t *testing.T) { hostileSlow(t, m) })
	t.Run("smuggling", func(t *testing.T) { hostileSmuggling(t, m) })
	t.Run("names", func(t *testing.T) { hostileNames(t, m) })
	t.Run("headers", func(t *testing.T) { hostileHeaders(t, m) })
	t.Run("connections", func(t *testing.T) { hostileConnections(t, m) })
	stop()

	usage := usageOf(t, m.relay.cmd.Process.Pid)
	t.Logf("a good client was answered 204 %d times; the relay's %v", m.written.Load(), usage)
	if usage.peak > 400<<20 {
		t.Errorf("the relay took %d MiB", usage.peak>>20)
	}
	if m.written.Load() == 0 {
		t.Error("the good client wrote nothing")
	}
	m.relay.stop()
}

func hostileBombs(t *testing.T, m *target) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 256 {
		w.Write(zeros)
	}
	w.Close()
	for _, path := range []string{"/write?db=d", "/api/v2/write?bucket=d", "/api/v3/write_lp?db=d"} {
		if status, body := m.attack(t, 0, post(path, "Content-Encoding: gzip\r\n", b.String())); status != "413" {
			t.Errorf("%s: %s %s", path, status, body)
		}
	}
}

func hostileLines(t *testing.T, m *target) {
	for name, body := range map[string]string{
		"open quote": "m s=\"open 1\nm v=1 1\n", "a line of 70 kB": "m s=\"" + strings.Repeat("x", 70_000) + "\" 1\n",
		"a tag key of 2 kB": "m," + strings.Repeat("k", 2000) + "=v f=1 1\n", "100 tags": "m" + manyOf(100, ",t%d=1") + " f=1 1\n", "300 fields": "m f=1" + manyOf(300, ",f%d=1") + " 1\n",
	} {
		if status, text := m.attack(t, 0, post("/write?db=d", "", body)); status != "400" || !strings.HasPrefix(text, `{"error":"unable to parse`) {
			t.Errorf("%s: %s %.200s", name, status, text)
		}
	}
	// 100 MB of one line, of which nobody says how long it is.
	piece := fmt.Sprintf("%x\r\n%s\r\n", 1<<20, strings.Repeat("x", 1<<20))
	pieces := []string{"POST /write?db=d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"}
	for range 100 {
		pieces = append(pieces, piece)
	}
	if status, text := m.attack(t, 0, pieces...); status != "413" {
		t.Errorf("100 MB: %s %.200s", status, text)
	}
	if status, text := m.attack(t, 0, "POST /write?db=d HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"); status != "413" {
		t.Errorf("100 MB, announced: %s %.200s", status, text)
	}
}

func manyOf(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func hostileSlow(t *testing.T, m *target) {
	const head = "POST /write?db=d HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
	t.Run("a body that drips", func(t *testing.T) {
		t.Parallel()
		if status, text := m.attack(t, 100*time.Millisecond, append([]string{head}, strings.Split(strings.Repeat("#", 9000), "")...)...); status != "503" {
			t.Errorf("%s %s", status, text)
		}
	})
	t.Run("a body that stops", func(t *testing.T) {
		t.Parallel()
		if status, text := m.attack(t, 0, head+strings.Repeat("#", 8000)); status != "503" {
			t.Errorf("%s %s", status, text)
		}
	})
	t.Run("a body that is slow, and longer on its way than silence may last", func(t *testing.T) {
		t.Parallel()
		pieces := []string{head}
		for range 75 {
			pieces = append(pieces, strings.Repeat("#", 119)+"\n")
		}
		if status, text := m.attack(t, 100*time.Millisecond, pieces...); status != "204" {
			t.Errorf("%s %s", status, text)
		}
	})
	t.Run("a header that drips", func(t *testing.T) {
		t.Parallel()
		pieces := append([]string{"POST /write?db=d HTTP/1.1\r\nHost: x\r\nX-Slow: "}, strings.Split(strings.Repeat("x", 1000), "")...)
		if status, text := m.attack(t, 100*time.Millisecond, pieces...); status != "closed" && status != "408" {
			t.Errorf("%s %s", status, text)
		}
	})
}

// hostileSmuggling: whatever a proxy in front may read, what follows the request
// is never taken for one of another length.
func hostileSmuggling(t *testing.T, m *target) {
	const line = "POST /write?db=d HTTP/1.1\r\nHost: x\r\n"
	for name, request := range map[string]string{
		"two lengths":                 line + "Content-Length: 8\r\nContent-Length: 3\r\n\r\nm v=1 1\n",
		"a list of lengths":           line + "Content-Length: 8, 3\r\n\r\nm v=1 1\n",
		"a length with a sign":        line + "Content-Length: +8\r\n\r\nm v=1 1\n",
		"a bare newline after a size": line + "Transfer-Encoding: chunked\r\n\r\n8\nm v=1 1\n\r\n0\r\n\r\n",
		"a size with a sign":          line + "Transfer-Encoding: chunked\r\n\r\n+8\r\nm v=1 1\n\r\n0\r\n\r\n",
		"a size that is none":         line + "Transfer-Encoding: chunked\r\n\r\nx\r\nm v=1 1\n\r\n0\r\n\r\n",
		"a size that overflows":       line + "Transfer-Encoding: chunked\r\n\r\n10000000000000008\r\nm v=1 1\n\r\n0\r\n\r\n",
		"another encoding":            line + "Transfer-Encoding: xchunked\r\n\r\n8\r\nm v=1 1\n\r\n0\r\n\r\n",
		"two encodings":               line + "Transfer-Encoding: gzip, chunked\r\n\r\n8\r\nm v=1 1\n\r\n0\r\n\r\n",
		"a space before the colon":    line + "Content-Length : 8\r\n\r\nm v=1 1\n",
		"a zero byte in a header":     line + "X: a\x00b\r\nContent-Length: 8\r\n\r\nm v=1 1\n",
		"a second host":               line + "Host: y\r\nContent-Length: 8\r\n\r\nm v=1 1\n",
		"a space in the path":         "POST /write ?db=d HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nm v=1 1\n",
	} {
		if status, text := m.attack(t, 0, request); status != "400" && status != "501" && status != "503" {
			t.Errorf("%s: %s %s", name, status, text)
		}
	}
	// A length beside chunks is not looked at, and nothing is left over that could
	// be taken for a request.
	c := m.attacker(t, 1)
	io.WriteString(c, line+"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nm v=1 1\n\r\n0\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReader(c)
	if first, text := answerOf(t, r); first != "204" && first != "400" {
		t.Errorf("a length beside chunks: %s %s", first, text)
	} else if second, _ := answerOf(t, r); first == "204" && second != "204" && second != "closed" {
		t.Errorf("what follows a length beside chunks: %s", second)
	}
}

func hostileNames(t *testing.T, m *target) {
	long := strings.Repeat("x", 2000)
	for name, want := range map[string][3]string{ // v1, v2, v3
		"..%2Fx": {"404", "404", "400"}, "..": {"404", "404", "400"}, "a%2Fb%2Fc": {"404", "404", "400"}, "a%5Cb": {"404", "404", "400"},
		"a%00b": {"404", "404", "400"}, "a%0Ab": {"404", "404", "400"}, "a%FFb": {"404", "404", "400"}, long: {"400", "404", "400"},
		"%C3%BC%20%E2%82%AC": {"204", "204", "400"}, "-rf": {"204", "204", "400"},
	} {
		for i, path := range []string{"/write?db=", "/api/v2/write?bucket=", "/api/v3/write_lp?db="} {
			if status, text := m.attack(t, 0, post(path+name, "", "m v=1 1\n")); status != want[i] {
				t.Errorf("%s%.40s: %s %.200s, want %s", path, name, status, text, want[i])
			}
		}
	}
	entries, err := os.ReadDir(m.path("data"))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the data directory: %v, %v", entries, err)
	}
	filepath.WalkDir(m.path("data"), func(path string, _ os.DirEntry, err error) error {
		if err != nil || strings.Contains(filepath.Base(path), "rf") {
			t.Errorf("%s, %v", path, err)
		}
		return nil
	})
}

func hostileHeaders(t *testing.T, m *target) {
	for name, headers := range map[string]string{
		"a long one": "X-Long: " + strings.Repeat("x", 40_000) + "\r\n", "many": manyOf(5000, "X-%d: 1\r\n"), "a long path": "",
	} {
		path := "/write?db=d"
		if headers == "" {
			path += "&x=" + strings.Repeat("x", 40_000)
		}
		if status, text := m.attack(t, 0, post(path, headers, "m v=1 1\n")); status != "431" && status != "414" {
			t.Errorf("%s: %s %s", name, status, text)
		}
	}
}

// hostileConnections opens ten thousand connections from forty addresses and
// says nothing; then busies a whole address's share.
func hostileConnections(t *testing.T, m *target) {
	before := m.written.Load()
	for i := range 10_000 {
		m.attacker(t, 2+i%40)
	}
	eventually(t, time.Minute, func() string {
		if n := m.written.Load() - before; n < 20 {
			return fmt.Sprintf("a good client was answered %d times", n)
		}
		return ""
	})
	busy := 0
	for range 400 {
		c := m.attacker(t, 99)
		if _, err := io.WriteString(c, "POST /write?db=d HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n#"); err == nil {
			busy++
		}
	}
	before = m.written.Load()
	eventually(t, time.Minute, func() string {
		if n := m.written.Load() - before; n < 20 {
			return fmt.Sprintf("with %d half writes, a good client was answered %d times", busy, n)
		}
		return ""
	})
}
