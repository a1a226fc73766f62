package tests

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// connect opens connections from an address of the loopback, of which every
// other one has begun a request that it does not end, until the test ends or
// they are closed.
func (r *rig) connect(from string, count int) (closeAll func()) {
	r.t.Helper()
	var all []net.Conn
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	for n := range count {
		conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
		if err != nil {
			continue // the relay accepts no more, and the kernel neither
		}
		if n%2 == 0 {
			_, _ = conn.Write([]byte("POST /write?db=chk HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nchk,wri"))
		}
		all = append(all, conn)
	}
	closed := false
	closeAll = func() {
		for _, conn := range all {
			if !closed {
				conn.Close()
			}
		}
		closed = true
	}
	r.t.Cleanup(closeAll)
	r.t.Logf("%d of %d connections are open", len(all), count)
	return closeAll
}

// raiseFiles lets this process, and what it starts, have so many files open.
func raiseFiles(t *testing.T, files uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= files {
		return
	}
	limit.Cur = files
	limit.Max = max(limit.Max, files)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("the test needs %d open files: %v", files, err)
	}
}

// Thousands of connections that do nothing, as many as are allowed or more than
// that, keep nobody else from writing.
func TestRelayFaultManyConnections(t *testing.T) {
	count := 2000
	if os.Getenv("VITALS_FAULTS") == "full" {
		count = 10_000
	}
	raiseFiles(t, uint64(count)+2000)
	t.Run("allowed", func(t *testing.T) {
		manyConnections(t, count, fmt.Sprintf("[relay.limits]\n  max_connections = %d\n  max_connections_per_address = %d\n", count+1000, count))
	})
	t.Run("one address beyond its bound", func(t *testing.T) { manyConnections(t, count, "") })
}

func manyConnections(t *testing.T, count int, limits string) {
	r := newRig(t, limits)
	r.run()
	before := usageOf(t, r.pid())
	closeAll := r.connect("127.0.0.2", count)
	crowd := r.load(1, 20, 20*time.Millisecond)
	eventually(t, 2*time.Minute, func() string {
		if n := r.book.count(); n < 1000 {
			return fmt.Sprintf("%d lines are accepted beside them", n)
		}
		return ""
	})
	loaded := usageOf(t, r.pid())
	crowd.end()
	closeAll()
	requireKept(t, "R9", r.settle())
	eventually(t, time.Minute, func() string {
		if u := usageOf(t, r.pid()); u.files > before.files+30 {
			return fmt.Sprintf("%d files are open, %d were before", u.files, before.files)
		}
		return ""
	})
	t.Logf("R9 %d connections: %v; %v", count, loaded, r.book)
	if loaded.peak > 100<<20+int64(count)*50<<10 {
		t.Errorf("the relay holds %v", loaded)
	}
}

// A relay that is out of files serves again when it has some.
func TestRelayFaultOutOfFiles(t *testing.T) {
	t.Parallel()
	runs := faultCount(t, 2, 20)
	r := newRig(t, queueOfSmallSegments)
	r.under = []string{"prlimit", "--nofile=64"}
	r.inPlace = true
	r.run()
	client := newClient(t)
	for n := range runs {
		crowd := r.load(1+10*n, 10, 20*time.Millisecond)
		closeAll := r.connect("127.0.0.2", 100)
		time.Sleep(time.Second)
		closeAll()
		crowd.end()
		r.requireTaken(client, int64(1000+n)<<perWriter)
		requireKept(t, "R9", r.settle())
	}
	t.Logf("R9 64 files for 110 connections: %d runs; %v", runs, r.book)
}

// A relay that is given too little memory dies of it, which costs nothing that
// it has given its word for.
func TestRelayFaultOutOfMemory(t *testing.T) {
	t.Parallel()
	runs := faultCount(t, 2, 20)
	r := newRig(t, queueOfSmallSegments)
	r.inPlace = true
	died := 0
	for n := range runs {
		r.under = []string{"prlimit", "--data=130000000"}
		r.run()
		crowd := r.load(1+10*n, 10, 20*time.Millisecond)
		body := []byte(strings.Repeat("m v=1 1\n", 1<<20)) // 8 MiB, and many of them at once
		var flood sync.WaitGroup
		for range 64 {
			flood.Go(func() {
				resp, err := newClient(t).Post(r.url()+"/write?db=other", "text/plain", bytes.NewReader(body))
				if err == nil {
					resp.Body.Close()
				}
			})
		}
		flood.Wait() // each is answered, or has lost its relay
		crowd.end()
		select {
		case <-r.relay.done:
			died++
		case <-time.After(3 * time.Second):
		}
		r.end(syscall.SIGKILL)
		r.under = nil
		r.sink.does(func(w http.ResponseWriter, _ *http.Request, lines []byte) {
			if !bytes.HasPrefix(lines, []byte("m ")) {
				r.book.deliver(lines)
			}
			w.WriteHeader(http.StatusNoContent)
		})
		r.run()
		requireKept(t, "R9", r.settle())
		r.end(syscall.SIGKILL)
		progress(t, n+1, runs, r.book)
	}
	t.Logf("R9 130 MB of memory: %d runs, in %d of which the relay died of it; %v", runs, died, r.book)
	if died == 0 {
		t.Error("the relay never ran out of memory")
	}
}
