package connections

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// served serves a handler that waits for /wait until the test ends.
func served(t *testing.T, limiter *Limiter) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Crowded(r.Context()) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/wait" {
			w.(http.Flusher).Flush()
			<-hold
		}
	})}
	limiter.Watch(s)
	done := make(chan struct{})
	go func() {
		s.Serve(limiter.Listener(ln))
		close(done)
	}()
	t.Cleanup(func() {
		close(hold)
		s.Close()
		<-done
	})
	return ln.Addr().String()
}

// client is one connection from an address of the loopback.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, address, from string) *client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 2 * time.Minute}
	c, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	return &client{t, c, bufio.NewReader(c)}
}

// get asks and returns the status of the answer, 0 if there is none.
func (c *client) get(path string) int {
	c.t.Helper()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0
	}
	if path != "/wait" {
		io.Copy(io.Discard, resp.Body)
	}
	return resp.StatusCode
}

func (c *client) expect(path string, want int) {
	c.t.Helper()
	if got := c.get(path); got != want {
		c.t.Errorf("%s: %d, want %d", path, got, want)
	}
}

func until(t *testing.T, l *Limiter, what string, so func(Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !so(l.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v", what, l.Stats())
		}
	}
}

// rested waits until the server, too, has a client's request behind it: it is the
// last that has come to rest.
func rested(t *testing.T, l *Limiter, c *client) {
	t.Helper()
	until(t, l, "a client is at rest", func(Stats) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		last := l.idle.Back()
		return last != nil && last.Value.(*conn).RemoteAddr().String() == c.LocalAddr().String()
	})
}

func TestTheLongestIdleMakesRoom(t *testing.T) {
	l := New(3, 100)
	address := served(t, l)
	a, b, c := dial(t, address, "127.0.0.2"), dial(t, address, "127.0.0.3"), dial(t, address, "127.0.0.4")
	for _, each := range []*client{b, c, a} { // now b has been idle for longest
		each.expect("/", 200)
		rested(t, l, each)
	}
	dial(t, address, "127.0.0.5").expect("/", 200)
	b.expect("/", 0)
	c.expect("/", 200)
	a.expect("/", 200)
	if s := l.Stats(); s.Evicted != 1 || s.Open != 3 || s.Told != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnAddressMakesRoomAmongItsOwn(t *testing.T) {
	l := New(100, 2)
	address := served(t, l)
	other := dial(t, address, "127.0.0.9")
	other.expect("/", 200)
	first := dial(t, address, "127.0.0.2")
	first.expect("/", 200)
	rested(t, l, first)
	for range 5 {
		c := dial(t, address, "127.0.0.2")
		c.expect("/", 200)
		rested(t, l, c)
	}
	first.expect("/", 0)
	other.expect("/", 200)
	if s := l.Stats(); s.Evicted != 4 || s.Open != 3 {
		t.Errorf("%+v", s)
	}
}

func TestWhereAllAreBusyANewOneIsTold(t *testing.T) {
	l := New(2, 100)
	address := served(t, l)
	for range 2 {
		dial(t, address, "127.0.0.2").expect("/wait", 200)
	}
	until(t, l, "two busy", func(Stats) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.idle.Len() == 0 && l.stats.Open == 2
	})
	told := dial(t, address, "127.0.0.3")
	told.expect("/", 503)
	told.expect("/", 0)
	until(t, l, "it is gone", func(s Stats) bool { return s.Open == 2 && s.Crowded == 0 && s.Told == 1 })

	// Of those that are told nothing comes either; beyond 16 they are closed.
	for range 16 {
		dial(t, address, "127.0.0.3")
	}
	until(t, l, "16 wait to be told", func(s Stats) bool { return s.Crowded == 16 })
	dial(t, address, "127.0.0.3").expect("/", 0)
	if s := l.Stats(); s.Closed == 0 {
		t.Errorf("%+v", s)
	}
}

func TestNothingStaysCounted(t *testing.T) {
	l := New(10, 10)
	address := served(t, l)
	for i := range 50 {
		c := dial(t, address, fmt.Sprintf("127.0.0.%d", 2+i%5))
		if i%2 == 0 {
			c.expect("/", 200)
		}
		c.Conn.Close()
	}
	until(t, l, "all are gone", func(s Stats) bool { return s.Open == 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.addresses) != 0 || l.idle.Len() != 0 {
		t.Errorf("%d addresses, %d at rest", len(l.addresses), l.idle.Len())
	}
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.1": "10.0.0.1/32", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:0:0:1": "2001:db8::/64", "2001:db8:0:1::": "2001:db8:0:1::/64",
	} {
		if got := prefixOf(&net.TCPAddr{IP: net.ParseIP(text)}).String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if prefixOf(&net.UnixAddr{}).IsValid() {
		t.Error("a socket has an address")
	}
}
