package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/output"
	"github.com/rpicluster/vitals/agent/self"
	"github.com/rpicluster/vitals/internal/control"
)

// status is what the control socket answers.
type status struct {
	Version string         `json:"version"`
	Node    string         `json:"node"`
	Config  string         `json:"config"`
	Sources config.Sources `json:"sources"`
	Started time.Time      `json:"started"`
	Uptime  time.Duration  `json:"uptime_ns"`
	// LockFile is where this agent looks for the hashes of pinned drop-ins.
	LockFile string           `json:"plugin_lock_file"`
	Inputs   []collect.Status `json:"inputs"`
	Outputs  []output.Status  `json:"outputs"`
	// ReloadError is what was wrong with the node file when it was last read
	// again; what runs is what it was before.
	ReloadError string `json:"reload_error,omitempty"`
	// ReloadFailed is what went wrong when it was put into effect.
	ReloadFailed []string `json:"reload_failed,omitempty"`
	// Clock says why lines are held or tagged; empty if the time is known.
	Clock string `json:"clock,omitempty"`
	// Skipped are the tables that were left out, see --skip-unknown-plugins.
	Skipped []string `json:"skipped,omitempty"`
}

func (a *agent) status() status {
	a.mu.Lock()
	s := status{Version: version, Node: a.config.Host, Config: a.config.Path, Sources: absolute(a.config.Sources), Started: a.started, Uptime: time.Since(a.started), Skipped: a.config.Skipped, LockFile: a.config.Agent.Trust.LockFile}
	if a.reloadErr != nil {
		s.ReloadError = a.reloadErr.Error()
	}
	s.ReloadFailed = a.reloadFailed
	a.mu.Unlock()
	s.Clock = a.clock.Doubt()
	s.Inputs = a.supervisor.Status()
	for _, o := range a.outputs.list() {
		s.Outputs = append(s.Outputs, o.Status())
	}
	return s
}

// absolute is from as somebody in another directory must name it.
func absolute(from config.Sources) config.Sources {
	whole := func(paths []string) []string {
		paths = slices.Clone(paths)
		for i, path := range paths {
			if abs, err := filepath.Abs(path); err == nil && !strings.Contains(path, "://") {
				paths[i] = abs
			}
		}
		return paths
	}
	return config.Sources{Files: whole(from.Files), Directories: whole(from.Directories)}
}

// state is what the collector internal tells of.
func (a *agent) state() self.State {
	s := a.status()
	return self.State{Inputs: s.Inputs, Outputs: s.Outputs}
}

// listen opens the control socket. Without one the agent runs all the same,
// unless the reason is that it runs already.
func (a *agent) listen(ctx context.Context) (net.Listener, error) {
	ln, err := control.Listen("agent")
	if err == nil {
		return ln, nil
	}
	if _, asked := askStatus(ctx); asked == nil || errors.Is(asked, context.DeadlineExceeded) {
		return nil, err
	}
	a.log.Warn("no control socket: vitals-agent status will not work", "error", err)
	return noListener{}, nil
}

// noListener is a socket that nobody can reach.
type noListener struct{ net.Listener }

// Accept reports that there is nothing to wait for.
func (noListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }

// Close does nothing.
func (noListener) Close() error { return nil }

// Addr is that of no network.
func (noListener) Addr() net.Addr { return &net.UnixAddr{} }

// answer serves the control socket until stop is called.
func (a *agent) answer(ctx context.Context, ln net.Listener) (stop func()) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		_ = writeJSON(w, a.status())
	})
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		done, err := a.tryReload(ctx, "vitals-agent reload")
		if err != nil {
			http.Error(w, "the node file was not reloaded; everything goes on as it was: "+err.Error(), http.StatusUnprocessableEntity)
			return
		}
		_ = writeJSON(w, done)
	})
	mux.HandleFunc("POST /plugins/retry", func(w http.ResponseWriter, r *http.Request) {
		var name string
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&name); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		n := 0
		if name != "" { // which would be every input without an alias
			n = a.supervisor.Retry(ctx, name)
		}
		if n == 0 {
			http.Error(w, fmt.Sprintf("no input and no program is called %q; see vitals-agent status", name), http.StatusNotFound)
			return
		}
		_ = writeJSON(w, retried{Inputs: n})
	})
	mux.HandleFunc("POST /flush", func(w http.ResponseWriter, _ *http.Request) {
		a.flush()
		w.WriteHeader(http.StatusNoContent)
	})
	a.serveBuffers(ctx, mux)
	srv := &http.Server{Handler: a.secrets.answers(mux), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	return func() {
		srv.Close()
		<-done
	}
}

// alivePatience is how long an agent may take to answer that is at no standstill.
const alivePatience = 20 * time.Second

// askStatus asks the running agent how it is doing.
func askStatus(ctx context.Context) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, alivePatience)
	defer cancel()
	return s, control.Get(ctx, "agent", "/status", &s)
}

// askAlive is for health checks, of containers above all: another agent in its
// place would mend neither a relay that is away nor a collector that fails.
func askAlive(ctx context.Context, _ *flags, _, _ io.Writer) error {
	_, err := askStatus(ctx)
	return err
}

// showStatus prints how the running agent is doing, and fails if something is
// failing.
func showStatus(ctx context.Context, f *flags, w, _ io.Writer) error {
	s, err := askStatus(ctx)
	if err != nil {
		return err
	}
	if f.json {
		if err := writeJSON(w, s); err != nil {
			return err
		}
	} else if err := s.print(w, time.Now()); err != nil {
		return err
	}
	if s.failing() {
		return errQuiet
	}
	return nil
}

// writeJSON writes v as a person can read it.
func writeJSON(w io.Writer, v any) error {
	if r, ok := w.(http.ResponseWriter); ok {
		r.Header().Set("Content-Type", "application/json")
	}
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, shownJSON(text.String()))
	return err
}

func (s *status) failing() bool {
	for _, in := range s.Inputs {
		if in.State == collect.StateFailing || in.State == collect.StateFailed {
			return true
		}
	}
	for _, o := range s.Outputs {
		if o.State == output.StateFailing {
			return true
		}
	}
	return false
}

func (s *status) print(out io.Writer, now time.Time) error {
	w := shownWriter{out}
	fmt.Fprintf(w, "vitals-agent %s on %s, up %s, %s\n\n", s.Version, or(s.Node, "(no host tag)"), span(s.Uptime), s.Config)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "INPUT\tSTATE\tEVERY\tLAST\tTOOK\tLINES\tFILTERED\tERRORS\tSKIPPED\tBAD\tRESTARTS\tPROCESS")
	for _, in := range s.Inputs {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", in.ID, in.State, span(in.Interval), ago(in.LastGather, now),
			in.LastDuration.Round(100*time.Microsecond), in.Gathered, in.Filtered, in.Errors, in.Skipped, in.BadLines, in.Restarts, programOf(in))
	}
	fmt.Fprintln(t, "\nOUTPUT\tSTATE\tWRITTEN\tWAITING\tOLDEST\tFILTERED\tREJECTED\tDROPPED\tLAST WRITE\tTO")
	for _, o := range s.Outputs {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", o.ID, o.State, o.Written, waiting(o), ago(o.Oldest, now),
			o.Filtered, o.Rejected, o.Dropped, ago(o.LastSuccess, now), o.URL)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, s.troubles(now))
	return err
}

// troubles are the last errors, those of the past included: what has healed is
// worth knowing too.
func (s *status) troubles(now time.Time) string {
	var b strings.Builder
	if s.ReloadError != "" {
		fmt.Fprintf(&b, "\nnode file: not reloaded, everything goes on as it was: %s", s.ReloadError)
	}
	if s.Clock != "" {
		fmt.Fprintf(&b, "\nclock: %s", s.Clock)
	}
	for _, failed := range s.ReloadFailed {
		fmt.Fprintf(&b, "\nnode file: reloaded, but: %s", failed)
	}
	for _, table := range s.Skipped {
		fmt.Fprintf(&b, "\n%s", table)
	}
	for _, in := range s.Inputs {
		if in.Notice != "" && !strings.Contains(in.LastError, in.Notice) {
			fmt.Fprintf(&b, "\n%s: %s", in.ID, in.Notice)
		}
		if in.LastError != "" {
			fmt.Fprintf(&b, "\n%s: %s ago: %s", in.ID, ago(in.LastErrorAt, now), in.LastError)
		}
	}
	for _, o := range s.Outputs {
		for _, why := range slices.Sorted(maps.Keys(o.DroppedBy)) {
			fmt.Fprintf(&b, "\n%s: %s dropped: %s", o.ID, count(int(o.DroppedBy[why]), "line"), why)
		}
		if o.Buffer != "" {
			fmt.Fprintf(&b, "\n%s: no buffer on disk: %s", o.ID, o.Buffer)
		}
		if o.LastError != "" {
			fmt.Fprintf(&b, "\n%s: %s ago: %s", o.ID, ago(o.LastErrorAt, now), o.LastError)
		}
	}
	if b.Len() > 0 {
		return "\nLast errors:" + b.String() + "\n"
	}
	return ""
}

func programOf(in collect.Status) string {
	if in.PID == 0 {
		return in.Program + " (not running)"
	}
	return fmt.Sprintf("%s %d", in.Program, in.PID)
}

func waiting(o output.Status) string {
	if o.SpoolLines == 0 {
		return fmt.Sprint(o.MemoryLines)
	}
	return fmt.Sprintf("%d (%d on disk)", o.MemoryLines+o.SpoolLines, o.SpoolLines)
}

// ago is how long before now t was, "-" if never.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t))
}

// span is a duration for people: one number that matters and no more.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
