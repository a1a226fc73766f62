package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a subject that runs.
type process struct {
	subject subject
	address string // of $PORT
	binary  string
	size    int64
	cmd     *exec.Cmd
	sink    *sink
	stop    context.CancelFunc // of the scraping
	wg      sync.WaitGroup
	log     *os.File

	last, highest usage
	begun         time.Time
	cpu           time.Duration // at begun
	ended         time.Time     // when last was taken
	err           error
}

// figures are what a round has found out about a subject.
type figures struct {
	subject   subject
	every     time.Duration
	end, high usage
	perMinute time.Duration // of processor time
	size      int64         // of the program's file
	requests  int64         // that it has made, or answered
	err       error
}

// start runs a subject from a copy of its program: one that runs twice would
// share its pages with itself, and each would look smaller than it is. What it
// writes is given to take, or forgotten.
func start(dir string, s subject, take http.Handler) (*process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	p := &process{subject: s, binary: filepath.Join(dir, filepath.Base(s.program))}
	var err error
	if p.size, err = copyFile(p.binary, s.program); err != nil {
		return nil, err
	}
	if p.sink, err = newSink(take); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p.address = fmt.Sprintf("127.0.0.1:%d", port)
	fill := strings.NewReplacer("$DIR", dir, "$SINK", p.sink.address, "$PORT", fmt.Sprint(port))
	if s.file != "" {
		if err := os.WriteFile(filepath.Join(dir, "config"), []byte(fill.Replace(s.file)), 0o600); err != nil {
			return nil, err
		}
	}
	if p.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	args := make([]string, len(s.args))
	for i, a := range s.args {
		args[i] = fill.Replace(a)
	}
	p.cmd = exec.Command(p.binary, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.log, p.log
	p.cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+filepath.Join(dir, "run"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	if s.scrape > 0 {
		p.wg.Go(func() { p.scrape(ctx, "http://"+p.address+"/metrics") })
	}
	return p, nil
}

// scrape asks an exporter as a Prometheus would.
func (p *process) scrape(ctx context.Context, url string) {
	tick := time.NewTicker(p.subject.scrape)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		r.Header.Set("Accept-Encoding", "gzip")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			continue
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err == nil && answer.StatusCode == http.StatusOK {
			p.sink.requests.Add(1)
		}
	}
}

// sample takes a reading; the first one is where processor time is counted from.
func (p *process) sample(now time.Time, first bool) {
	if p.err != nil {
		return
	}
	u, err := measure(p.cmd.Process.Pid)
	if err != nil {
		p.err = err
		return
	}
	if first {
		p.begun, p.cpu = now, u.cpu
	}
	p.last, p.ended = u, now
	p.highest.pss, p.highest.rss = max(p.highest.pss, u.pss), max(p.highest.rss, u.rss)
}

func (p *process) figures(every time.Duration) figures {
	f := figures{
		subject: p.subject, every: every, end: p.last, high: p.highest, size: p.size,
		requests: p.sink.requests.Load(), err: p.err,
	}
	if length := p.ended.Sub(p.begun); length > 0 {
		f.perMinute = time.Duration(float64(p.last.cpu-p.cpu) * float64(time.Minute) / float64(length))
	}
	if f.err == nil && p.subject.busy && f.requests == 0 {
		f.err = errors.New("it has sent nothing, or answered nothing")
	}
	if f.err != nil {
		f.err = fmt.Errorf("%w%s", f.err, p.lastWords())
	}
	return f
}

// lastWords is the end of what the program has logged.
func (p *process) lastWords() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil || len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "; it last said: " + lines[len(lines)-1]
}

// end asks the subject to end, then makes it.
func (p *process) end() {
	p.stop()
	p.wg.Wait()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(8*time.Second, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	_ = p.cmd.Wait()
	kill.Stop()
	p.sink.server.Close()
	p.log.Close()
}

// sink takes what is written and forgets it, as a database that is never slow.
type sink struct {
	server   http.Server
	address  string
	requests atomic.Int64
}

func newSink(take http.Handler) (*sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{address: ln.Addr().String()}
	s.server.Handler = take
	if take == nil {
		s.server.Handler = s
	}
	go func() { _ = s.server.Serve(ln) }()
	return s, nil
}

// ServeHTTP answers as InfluxDB does to a write.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n, err := io.Copy(io.Discard, r.Body); err == nil && n > 0 {
		s.requests.Add(1)
	}
	w.WriteHeader(http.StatusNoContent)
}

// freePort is one that nobody listens on at this moment.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

func copyFile(to, from string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}
