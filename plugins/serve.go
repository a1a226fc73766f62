package plugins

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// Serve is the main of a plugin. It serves the collectors until the host ends
// it, or is gone itself, and exits; run by hand it says what it is.
func Serve(d ...Description) {
	if err := usable(d); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
	if os.Getenv(Handshake().MagicCookieKey) != Handshake().MagicCookieValue {
		fmt.Fprint(os.Stderr, byHand(filepath.Base(os.Args[0]), d))
		os.Exit(1)
	}
	// What is still logged once the host is gone must not end this process: it
	// has things to end in order. Programs that it runs do not inherit this.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	stderr := os.Stderr // go-plugin replaces the variable
	log := newLogger(stderr, filepath.Base(os.Args[0]))
	slog.SetDefault(log)
	server := newServer(log, d)
	var listening atomic.Pointer[grpc.Server]
	bereft := func() {
		finish(server)
		clearAway(os.Getenv(GuardEnv))
		if s := listening.Load(); s != nil {
			s.Stop() // which removes the socket, and lets Serve return
		}
	}
	if err := watchLifeline(os.Getenv(LifelineEnv), bereft); err != nil {
		log.Warn("no lifeline: this process stays when its host is killed", "error", err)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: Handshake(),
		Plugins:         plugin.PluginSet{DispenseName: &grpcPlugin{server: server}},
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			s := newGRPCServer(log, stderr, o)
			listening.Store(s)
			return s
		},
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: stderr, JSONFormat: true}),
	})
	finish(server)
}

// finishTime is how long the instances may take to end. The host kills a
// process that it has asked to end after two seconds.
const finishTime = 1800 * time.Millisecond

// finish ends what collectors have running: in order, and by force what is
// then left of this process's session, which holds nothing but their programs.
func finish(s *server) {
	s.close(finishTime)
	if ownSession() {
		EndSession(os.Getpid())
	}
}

// clearAway ends what the plugins of a host that was killed have left behind:
// the kernel has killed those themselves, but not what they had started, nor
// has anybody removed the sockets. Others that do the same are left to it.
func clearAway(sockets string) {
	if sockets == "" {
		return
	}
	endOffspring(sockets, GuardEnv+"="+sockets)
	_ = os.RemoveAll(sockets)
}

// newGRPCServer keeps buffers small, since a plugin serves one connection with
// a few KiB a second. With the first call the handshake is over: only then may
// standard output be taken off the host's hands.
func newGRPCServer(log *slog.Logger, stderr *os.File, o []grpc.ServerOption) *grpc.Server {
	settle := sync.OnceFunc(func() { detachStdout(stderr) })
	unary := func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (reply any, err error) {
		settle()
		err = guard(log, func() (err error) { reply, err = next(ctx, r); return err })
		return reply, err
	}
	stream := func(s any, st grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		settle()
		return next(s, st)
	}
	return grpc.NewServer(append(o,
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10),
		grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(stream))...)
}

// detachStdout lets everything that is printed from now on go to the host's
// log. go-plugin would send it through pipes of 64 KiB that block the printing
// collector as soon as the host is slow to read them.
func detachStdout(stderr *os.File) {
	redirect(stderr)
	os.Stdout, os.Stderr = stderr, stderr
}

// watchLifeline ends this process when the descriptor reaches its end, after
// finish.
func watchLifeline(number string, finish func()) error {
	if number == "" {
		return nil
	}
	fd, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("%s=%q is not a number", LifelineEnv, number)
	}
	f := os.NewFile(uintptr(fd), "lifeline")
	if f == nil {
		return fmt.Errorf("%s=%q is not a file descriptor", LifelineEnv, number)
	}
	if _, err := f.Stat(); err != nil {
		return fmt.Errorf("%s=%s: %w", LifelineEnv, number, err)
	}
	closeOnExec(fd)
	go func() {
		_, _ = io.Copy(io.Discard, f)
		finish()
		os.Exit(0)
	}()
	return nil
}

// byHand is what somebody reads who starts a plugin in a terminal.
func byHand(program string, d []Description) string {
	text := program + " is a plugin: vitals-agent starts it, it is not run by hand.\n\n"
	for _, one := range d {
		text += "It collects " + one.Name
		if one.Description != "" {
			text += ": " + one.Description
		}
		text += "\n"
	}
	text += "\nPut it into one of the agent's plugin directories, such as /usr/local/lib/vitals/plugins,\n" +
		"and add to the agent's configuration:\n\n"
	for _, one := range d {
		text += fmt.Sprintf("[[inputs.%s]]\n", one.Name)
	}
	return text
}
