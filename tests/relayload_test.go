package tests

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// connect opens connections, of which every other one has begun a request that
// it does not end, until the test ends or they are closed.
func (r *rig) connect(count int) (closeAll func()) {
	r.t.Helper()
	var all []net.Conn
	for n := range count {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.port), 10*time.Second)
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

func TestRelayFaultManyConnections(t *testing.T) {
	count := 2000
	if os.Getenv("VITALS_FAULTS") == "full" {
		count = 10_000
	}
	raiseFiles(t, uint64(count)+2000)
	r := newRig(t, "")
	r.run()
	before := usageOf(t, r.pid())
	closeAll := r.connect(count)
	crowd := r.load(1, 20, 20*time.Millisecond)
	time.Sleep(2 * time.Second)
	crowd.end()
	loaded := usageOf(t, r.pid())
	accepted := len(r.book.accepted)
	closeAll()
	requireKept(t, "R9", r.settle())
	eventually(t, time.Minute, func() string {
		if u := usageOf(t, r.pid()); u.files > before.files+30 {
			return fmt.Sprintf("%d files are open, %d were before", u.files, before.files)
		}
		return ""
	})
	t.Logf("R9 %d connections: %v; %v", count, loaded, r.book)
	if accepted == 0 {
		t.Error("nothing was accepted beside them")
	}
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
		closeAll := r.connect(100)
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
		for range 64 {
			crowd.wg.Go(func() {
				resp, err := newClient(t).Post(r.url()+"/write?db=other", "text/plain", bytes.NewReader(body))
				if err == nil {
					resp.Body.Close()
				}
			})
		}
		select {
		case <-r.relay.done:
			died++
		case <-time.After(3 * time.Second):
		}
		crowd.end()
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
