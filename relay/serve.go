package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/service"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/config"
	"github.com/rpicluster/vitals/relay/connections"
)

const (
	// stopRequests is how long requests may take to come to their end when
	// the relay stops.
	stopRequests = 5 * time.Second
)

// serve runs the relay until ctx ends.
func serve(ctx context.Context, f flags, stderr io.Writer) (err error) {
	log, err := newLogger(stderr, f.logLevel)
	if err != nil {
		return err
	}
	c, err := config.Load(config.Find(f.config))
	if err != nil {
		return err
	}
	for _, w := range c.Warnings {
		log.Warn(w)
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	// Listen before anything is opened: two relays must not share a disk.
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w; set listen below [relay] to a free address", err)
	}
	defer listener.Close()
	limiter := newLimiter(&c.Limits, log)
	listener, certificates, err := secure(c, limiter.Listener(listener))
	if err != nil {
		return err
	}
	r, err := open(c, log)
	if err != nil {
		return err
	}
	r.certificates, r.connections, r.path = certificates, limiter, f.config
	socket, err := control.Listen("relay")
	if err != nil {
		return errors.Join(err, r.close())
	}
	return r.run(ctx, listener, socket, hangups)
}

// ownKeyDirectory is where the relay keeps the key that it has made for itself.
func ownKeyDirectory(c *config.Config) string { return filepath.Join(c.DataDirectory, "tls") }

// newLimiter bounds the connections, below what the system lets a program have.
func newLimiter(l *config.Limits, log *slog.Logger) *connections.Limiter {
	const others = 512 // segments, destinations, those that are told to come again
	most := l.MaxConnections
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && uint64(most)+uint64(most)/8+others > files.Cur {
		most = max(16, (int(files.Cur)-others)*8/9)
		log.Warn("fewer connections are taken than max_connections: the limit of open files is too low", "connections", most, "open_files", files.Cur)
	}
	return connections.New(most, l.MaxConnectionsPerAddress)
}

// secure puts TLS on a listener where the node file asks for it.
func secure(c *config.Config, listener net.Listener) (net.Listener, *auth.Certificates, error) {
	if c.TLS == (config.TLS{}) {
		return listener, nil, nil
	}
	certificates := &auth.Certificates{
		CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile,
		ClientCAFile: c.TLS.ClientCAFile, ClientRequired: c.TLS.RequireClientCert,
	}
	if c.TLS.OwnKey {
		var err error
		if certificates.CertFile, certificates.KeyFile, err = auth.OwnKey(ownKeyDirectory(c)); err != nil {
			return nil, nil, err
		}
	}
	if err := certificates.Load(); err != nil {
		return nil, nil, err
	}
	return tls.NewListener(listener, certificates.Config()), certificates, nil
}

// run serves both listeners until ctx ends or one of them fails, then stops in
// the opposite order of the lines' way: the door first, so that nothing comes
// in that nobody keeps; then delivery; the queue last.
func (r *relay) run(ctx context.Context, listener, socket net.Listener, hangups <-chan os.Signal) error {
	work, stopWork := context.WithCancel(context.Background())
	defer stopWork()
	r.listening = listener.Addr()
	r.start(work)
	door := r.server(r.door)
	r.connections.Watch(door)
	door.RegisterOnShutdown(func() { close(r.stopping) }) // streams go on for ever
	side := r.server(r.control(work))
	failed := make(chan error, 2)
	go func() { failed <- door.Serve(listener) }()
	go func() { failed <- side.Serve(socket) }()
	if r.certificates != nil {
		r.work.Go(func() { r.certificates.Run(work, r.log) })
	}
	r.work.Go(func() { r.hangups(work, hangups) })
	r.announce(listener.Addr().String())
	service.Ready()
	go service.Watchdog(ctx, func() { r.alarms() })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	r.log.Info("vitals-relay stops")
	service.Stopping()
	limit, cancel := context.WithTimeout(context.Background(), stopRequests)
	defer cancel()
	if door.Shutdown(limit) != nil {
		door.Close() // those were not answered, so they are not ours to keep
	}
	side.Close()
	stopWork()
	return errors.Join(err, r.close())
}

func (r *relay) announce(address string) {
	attrs := []any{"version", version, "address", r.scheme() + "://" + clickable(address), "data_directory", r.config.DataDirectory, "destinations", len(r.all())}
	if r.config.Path != "" {
		attrs = append(attrs, "config", r.config.Path)
	}
	r.log.Info("vitals-relay runs", attrs...)
	if len(r.all()) == 0 {
		r.log.Info("no destination is configured: lines are kept and the nodes shown", "kept_bytes", int64(r.config.Queue.KeptBytes), "kept_age", r.config.Queue.KeptAge.String())
	}
	for _, text := range append(r.alarms(), r.notes()...) {
		r.log.Warn(text)
	}
}

// scheme is how clients call the relay.
func (r *relay) scheme() string {
	if r.certificates != nil {
		return "https"
	}
	return "http"
}

// clickable is an address that a browser on this machine can open: one that
// stands for every interface is none.
func clickable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return address
}

func (r *relay) server(h http.Handler) *http.Server {
	l := &r.config.Limits
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: l.HeaderTimeout.Std(),
		ReadTimeout:       l.BodySilence.Std(), // extended while a body keeps coming
		WriteTimeout:      2 * l.BodySilence.Std(),
		IdleTimeout:       l.IdleTimeout.Std(),
		MaxHeaderBytes:    int(l.MaxHeader),
		ErrorLog:          slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
}

// control is what the subcommands talk to.
func (r *relay) control(work context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, r.status()) })
	mux.Handle("GET /api/", r.pages)
	r.controlTokens(mux)
	r.controlInvites(mux)
	r.controlAlerts(mux)
	r.controlRejected(mux)
	mux.HandleFunc("POST /reload", r.serveReload(work))
	mux.HandleFunc("POST /destinations/forget", forgets(r.forget))
	mux.HandleFunc("POST /nodes/forget", forgets(r.noted("a node is forgotten", r.forgetNode)))
	mux.HandleFunc("POST /nodes/retire", forgets(r.noted("a node is retired", r.fleet.Retire)))
	return mux
}

// noted logs what was done to a node.
func (r *relay) noted(what string, do func(name string) error) func(name string) error {
	return func(name string) error {
		err := do(name)
		if err == nil {
			r.log.Info(what, "node", name)
		}
		return err
	}
}

// forgets serves a request to forget something by its name.
func forgets(forget func(name string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		var in forgetRequest
		err := json.NewDecoder(io.LimitReader(req.Body, 4096)).Decode(&in)
		if err == nil {
			err = forget(in.Name)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// forgetRequest names the destination or node to forget.
type forgetRequest struct {
	Name string `json:"name"`
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// checkConfig says whether the node file is sound, and starts nothing.
func checkConfig(f flags, stdout io.Writer) error {
	path := config.Find(f.config)
	c, err := config.Load(path)
	if err != nil {
		return err
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(stdout, "warning:", w)
	}
	if path == "" {
		path = "no node file; the defaults"
	}
	_, err = fmt.Fprintf(stdout, "%s: no mistake in the relay's part; it listens on %s and has %s\n", path, c.Listen, plural(int64(len(c.Destinations)), "destination"))
	return err
}

// countLines counts the newlines, one more if the last line has none.
func countLines(lines []byte) int {
	n := bytes.Count(lines, []byte("\n"))
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		n++
	}
	return n
}
