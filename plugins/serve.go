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
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// Serve is the main of a plugin. It serves the collectors until the host ends
// it, or is gone itself, and exits; run by hand it says what it is.
func Serve(d ...Description) {
	hosted := os.Getenv(Handshake().MagicCookieKey) == Handshake().MagicCookieValue
	if err := usable(d, hosted); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
	if !hosted {
		fmt.Fprint(os.Stderr, byHand(filepath.Base(os.Args[0]), d))
		os.Exit(1)
	}
	// What is still logged once the host is gone must not end this process: it
	// has things to end in order. Programs that it runs do not inherit this.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	log := newLogger(os.Stderr, filepath.Base(os.Args[0]))
	slog.SetDefault(log)
	server, calls := newServer(log, d), newGRPCServer(log)
	bereft := func() {
		finish(server)
		clearAway(os.Getenv(GuardEnv))
		calls.Stop() // which removes the socket, and lets Serve return
	}
	if err := watchLifeline(os.Getenv(LifelineEnv), bereft); err != nil {
		log.Warn("no lifeline: this process stays when its host is killed", "error", err)
	}
	err := speak(server, calls)
	finish(server)
	if err != nil {
		log.Error("serve", "error", err)
		os.Exit(1)
	}
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
// a few KiB a second.
func newGRPCServer(log *slog.Logger) *grpc.Server {
	unary := func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (reply any, err error) {
		err = guard(log, func() (err error) { reply, err = next(ctx, r); return err })
		return reply, err
	}
	return grpc.NewServer(grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10), grpc.UnaryInterceptor(unary))
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
