package plugins

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/rpicluster/vitals/plugins/proto"
)

// This file is the plugin's side of go-plugin's contract, as a plugin in any
// other language has it. plugin.Serve would do the same, but for net/rpc as
// well, which finds methods by name while the program runs: with it the linker
// can leave out no method of anything, and the agent and every plugin are a
// tenth larger, on disk and in memory.

// listen opens the socket on which the host expects this process, in the
// directory that it has made for it.
func listen() (net.Listener, error) {
	if os.Getenv("PLUGIN_CLIENT_CERT") != "" {
		return nil, errors.New("TLS between host and plugin is not supported; the socket's directory is private")
	}
	f, err := os.CreateTemp(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin")
	if err != nil {
		return nil, fmt.Errorf("find a name for the socket: %w", err)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("find a name for the socket: %w", err)
	}
	ln, err := net.Listen("unix", f.Name())
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return ln, nil
}

// speak serves the collectors until the host says that it is enough. What is
// printed after the handshake is not the host's to read: it goes to the log.
func speak(s *server, calls *grpc.Server) error {
	ln, err := listen()
	if err != nil {
		return err
	}
	proto.RegisterCollectorServer(calls, s)
	calls.RegisterService(&controller, shutdown(calls.Stop))
	alive := health.NewServer()
	alive.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(calls, alive)

	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt) // a Ctrl-C is the host's to act on
	if _, err := fmt.Printf("1|%d|unix|%s|grpc|\n", Handshake().ProtocolVersion, ln.Addr()); err != nil {
		return errors.Join(fmt.Errorf("tell the host where the socket is: %w", err), ln.Close())
	}
	redirect(os.Stderr)
	os.Stdout = os.Stderr
	return calls.Serve(ln)
}

// shutdown ends the process's service. go-plugin calls it through a service of
// its own, whose description it keeps to itself; its message is an empty one.
type shutdown func()

var controller = grpc.ServiceDesc{
	ServiceName: "plugin.GRPCController",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Shutdown",
		Handler: func(s any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			go s.(shutdown)() // it ends this call, too
			return &emptypb.Empty{}, decode(&emptypb.Empty{})
		},
	}},
}
