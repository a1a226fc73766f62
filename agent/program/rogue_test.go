package program

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/plugins/proto"
)

// rogue is a plugin that was written without our package and without
// go-plugin's: a gRPC server on a socket and a line on standard output. It does
// the wrong thing that its name in the environment says.
type rogue struct {
	proto.UnimplementedCollectorServer
	grpc_health_v1.UnimplementedHealthServer
	how      string
	mode     os.FileMode // of the directory of its socket
	listener net.Listener
	server   *grpc.Server
}

func (r *rogue) run() {
	if r.how == "sleeps" {
		select {}
	}
	if r.how == "daemon" && os.Getenv("ROGUE_CHILD") == "" {
		// The parent's end is the plugin's end; what it leaves is a daemon.
		r.leave("ROGUE_CHILD=1")
		time.Sleep(50 * time.Millisecond)
		syscall.Exit(0)
	}
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	if info, err := os.Stat(dir); err == nil {
		r.mode = info.Mode().Perm()
	}
	socket := filepath.Join(dir, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	r.listener, r.server = listener, grpc.NewServer(grpc.MaxSendMsgSize(1<<30))
	proto.RegisterCollectorServer(r.server, r)
	if r.how == "health hangs" {
		grpc_health_v1.RegisterHealthServer(r.server, r)
	}
	if r.how == "deaf to signals" {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	}
	r.say(socket)
	if r.how == "ends after the handshake" {
		syscall.Exit(0) // before anything is answered
	}
	go func() { _ = r.server.Serve(listener) }()
	select {}
}

// say prints the handshake, and what the mode adds to it.
func (r *rogue) say(socket string) {
	line := "1|1|unix|" + socket + "|grpc|"
	switch r.how {
	case "certificate":
		line += certificate()
	case "frozen at once":
		fmt.Println(line)
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		return
	}
	fmt.Println(line)
}

// certificate is what a plugin sends that was asked to encrypt.
func certificate() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString(der)
}

// leave starts a copy of this program in a session of its own, as daemons do.
func (r *rogue) leave(env string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), env)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return cmd
}

func (r *rogue) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	select {}
}

func (r *rogue) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeReply, error) {
	one := &proto.CollectorDescription{Name: "rogue"}
	reply := &proto.DescribeReply{Collectors: []*proto.CollectorDescription{one}}
	switch r.how {
	case "describe hangs":
		select {}
	case "describes nothing":
		reply.Collectors = nil
	case "describes thousands":
		for i := range 5000 {
			reply.Collectors = append(reply.Collectors, &proto.CollectorDescription{Name: fmt.Sprint("rogue", i)})
		}
	case "describes at length":
		one.SampleConfig = strings.Repeat("# on and on\n", 10<<20/12)
	case "hurries":
		one.DefaultIntervalNs = 1
	case "bad text":
		return nil, status.Error(codes.Internal, "\x1b[2J\xff"+strings.Repeat("much ", 4_000))
	}
	return reply, nil
}

func (r *rogue) Configure(_ context.Context, q *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	reply := &proto.ConfigureReply{}
	if q.InstanceId == "mistakes" {
		for range 1000 {
			reply.Errors = append(reply.Errors, &proto.OptionError{Option: "\x1b\n" + strings.Repeat("o", 1000), Message: "\x1b\n" + strings.Repeat("m", 2000)})
		}
		return reply, nil
	}
	_, err := fmt.Sscan(q.InstanceId, &reply.GatherTimeoutNs)
	return reply, err
}

func (r *rogue) Gather(ctx context.Context, q *proto.GatherRequest) (*proto.GatherReply, error) {
	reply := &proto.GatherReply{Lines: []byte("rogue value=1i\n")}
	switch q.InstanceId {
	case "print":
		for range 4 { // each longer than a line may be, and than a pipe holds
			fmt.Println(strings.Repeat("x", 1<<20))
		}
	case "log":
		floods[r.how](os.Stderr)
	case "huge":
		reply.Lines = make([]byte, 100<<20)
	case "error":
		reply.Error = "\x1b[31mred\x00\n" + strings.Repeat("and long ", 100_000)
	case "close":
		r.listener.Close()
		go r.server.Stop()
	case "offspring":
		cmd := exec.Command("sleep", "600")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		reply.Lines = fmt.Appendf(nil, "rogue child=%di\n", cmd.Process.Pid)
	case "daemon":
		reply.Lines = fmt.Appendf(nil, "rogue child=%di\n", r.leave("ROGUE=sleeps").Process.Pid)
	case "world":
		stdin, _ := os.Readlink("/proc/self/fd/0")
		reply.Lines = fmt.Appendf(nil, "stdin=%s mode=%o env=%q", stdin, r.mode, os.Environ())
	}
	return reply, nil
}

// logs keeps what is logged.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// host has what a Command needs.
type host struct {
	t       *testing.T
	sockets string
	logs    *logs
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "vitals") // the paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{t: t, sockets: dir, logs: &logs{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log:\n%.6000s", h.logs)
		}
	})
	return h
}

func (h *host) command(argv ...string) Command {
	return Command{
		Argv: argv, Env: []string{"PATH=" + os.Getenv("PATH")}, Sockets: h.sockets, Timeout: patience,
		Log: slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func (h *host) rogue(how string) Command {
	cmd := h.command("/proc/self/exe")
	cmd.Env = append(cmd.Env, "ROGUE="+how)
	return cmd
}

// start runs a rogue until the test ends.
func (h *host) start(how string) *Process {
	h.t.Helper()
	p, err := Start(h.t.Context(), h.rogue(how))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { p.End(0) })
	return p
}

// gather asks once. One that will not answer is best asked for a short time.
func gather(t *testing.T, p *Process, id string, within time.Duration) (*proto.GatherReply, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return p.Gather(ctx, &proto.GatherRequest{InstanceId: id})
}

func mustGather(t *testing.T, p *Process, id string) string {
	t.Helper()
	reply, err := gather(t, p, id, patience)
	if err != nil {
		t.Fatal(err)
	}
	return string(reply.Lines)
}

// childOf is the process that an answer tells of.
func childOf(t *testing.T, lines string) (pid int) {
	t.Helper()
	if _, err := fmt.Sscanf(lines, "rogue child=%di", &pid); err != nil {
		t.Fatalf("%q: %v", lines, err)
	}
	return pid
}

// gone reports whether a process has ended, be it reaped or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// patience is for what may be slow, on a machine that is, and must not last
// for ever.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v are not enough for %s", patience, what)
		}
	}
}

// requireReturns fails if call does not return.
func requireReturns(t *testing.T, what string, call func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s has not returned after %v", what, patience)
	}
}

// requireNothingLeft fails if a socket or its directory is left.
func (h *host) requireNothingLeft() {
	h.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(h.sockets, "*")); len(left) > 0 {
		h.t.Errorf("left behind: %v", left)
	}
}

// marked are the processes that run, and were given a socket below dir.
func marked(dir string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		env, _ := os.ReadFile(path)
		if strings.Contains(string(env), "PLUGIN_UNIX_SOCKET_DIR="+dir) {
			var pid int
			fmt.Sscanf(path, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}
