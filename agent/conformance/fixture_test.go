package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/builtin"
	"github.com/rpicluster/vitals/plugins/proto"
)

// TestMain lets the test binary be the programs under check: "plugin" serves
// the built-in collectors, "fixture" one that keeps the contract but for what
// the word after it says.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "plugin":
		plugins.Serve(builtin.All()...)
	case len(os.Args) == 2 && os.Args[1] == "flawed":
		plugins.Serve(plugins.Description{Name: "flawed", Description: "Takes labels.", New: func() plugins.Collector { return &flawed{} }})
	case len(os.Args) == 3 && os.Args[1] == "fixture":
		serveFixture(os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

// flawed has an option that is the agent's.
type flawed struct{ Labels []string }

// Gather implements plugins.Collector.
func (*flawed) Gather(context.Context, *plugins.Batch) error { return nil }

// fixture is a plugin without package plugins, so that it can break what that
// package keeps.
type fixture struct {
	proto.UnimplementedCollectorServer
	broken string

	mu        sync.Mutex
	instances map[string]settings
	last      string // host name of the instance configured last
	stuck     bool
	streamed  bool
	described int
}

type settings struct {
	host    string
	options map[string]any
}

// serveFixture is its main. broken is what it does wrong.
func serveFixture(broken string) {
	if os.Getenv("VITALS_PLUGIN") != "collector" {
		byHandFixture(broken)
		return
	}
	switch broken {
	case "prints first":
		fmt.Println("Welcome!")
	case "no handshake":
		time.Sleep(time.Hour)
	case "ends at start":
		fmt.Fprintln(os.Stderr, "no such device")
		os.Exit(3)
	}
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	if broken == "socket elsewhere" {
		dir = os.TempDir()
	}
	path := filepath.Join(dir, fmt.Sprintf("fixture%d", os.Getpid()))
	listener, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if broken == "leaves its socket" {
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
	}
	server := grpc.NewServer()
	end := func() {
		server.Stop()
		os.Exit(0)
	}
	f := &fixture{broken: broken, instances: map[string]settings{}}
	f.register(server, end)
	f.watchLifeline(end)
	handshake := "1|1|unix|" + path + "|grpc|"
	switch broken {
	case "version 2":
		handshake = "1|2|unix|" + path + "|grpc|"
	case "netrpc":
		handshake = "1|1|unix|" + path + "|netrpc|"
	case "tls":
		handshake += "MIIB"
	}
	if broken == "listens late" {
		listener.Close()
	}
	fmt.Println(handshake)
	if broken == "socket elsewhere" {
		time.AfterFunc(time.Second, func() { os.Remove(path); os.Exit(0) })
	}
	if err := server.Serve(listener); err != nil {
		os.Exit(1)
	}
	select {} // until end
}

func byHandFixture(broken string) {
	switch broken {
	case "silent by hand":
	case "runs by hand":
		time.Sleep(time.Hour)
	case "serves by hand":
		fmt.Println("1|1|unix|/x|grpc|")
	default:
		fmt.Fprintln(os.Stderr, "I am a plugin.")
	}
	if broken != "content by hand" {
		os.Exit(1)
	}
}

func (f *fixture) register(server *grpc.Server, end func()) {
	proto.RegisterCollectorServer(server, f)
	if f.broken != "no health" {
		h := health.NewServer()
		if f.broken != "other health" {
			h.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
		}
		grpc_health_v1.RegisterHealthServer(server, h)
	}
	if f.broken == "no controller" {
		return
	}
	shutdown := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		if f.broken != "ignores shutdown" {
			time.AfterFunc(10*time.Millisecond, end)
		}
		return &emptypb.Empty{}, decode(&emptypb.Empty{})
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "plugin.GRPCController", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Shutdown", Handler: shutdown}},
	}, f)
}

func (f *fixture) watchLifeline(end func()) {
	line := os.NewFile(3, "lifeline")
	syscall.CloseOnExec(3)
	if f.broken == "ignores its lifeline" {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, line)
		end()
	}()
}

func (f *fixture) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeReply, error) {
	d := &proto.CollectorDescription{
		Name: "fixture", Aliases: []string{"fix"}, Description: "Does nearly as it should.",
		Options: []string{"sides", "names", "extra"}, Measurements: []string{"roll"},
		SampleConfig: "[[inputs.fixture]]\n  sides = 6\n  names = [\"a\"]\n  # extra = { a = 1 }\n",
	}
	r := &proto.DescribeReply{ApiMinor: 1, Sdk: "none", Collectors: []*proto.CollectorDescription{d}}
	switch f.broken {
	case "slow to describe":
		time.Sleep(describeTime + 200*time.Millisecond)
	case "slow to describe once":
		f.mu.Lock()
		f.described++
		first := f.described == 1
		f.mu.Unlock()
		if first {
			time.Sleep(describeTime + 200*time.Millisecond)
		}
	case "cannot describe":
		return nil, errors.New("not today")
	case "nothing":
		r.Collectors = nil
	case "bad name":
		d.Aliases = []string{"Fix-It"}
	case "twins":
		r.Collectors = append(r.Collectors, d)
	case "claims interval":
		d.Options = append(d.Options, "interval")
	case "built in":
		d.Aliases = []string{"cpu"}
	case "says little":
		d.Description, d.Measurements = "", nil
	case "sample is no TOML":
		d.SampleConfig = "[[inputs.fixture]\n"
	case "sample of another":
		d.SampleConfig = "[[inputs.other]]\n"
	case "sample is refused":
		d.SampleConfig += "  side = 7\n"
	case "sample lacks an option":
		d.SampleConfig = "[[inputs.fixture]]\n  sides = 6\n"
	case "needs an option":
		d.SampleConfig = "[[inputs.fixture]]\n  sides = 6\n  # names = []\n  # extra = {}\n"
	}
	if strings.HasPrefix(f.broken, "stream") {
		d.Kind = proto.Kind_KIND_STREAM
	}
	return r, nil
}

func (f *fixture) Configure(_ context.Context, r *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var given map[string]any
	if err := json.Unmarshal(r.ConfigJson, &given); err != nil {
		switch f.broken {
		case "dies of garbage":
			os.Exit(2)
		case "takes garbage":
		case "garbage is an error":
			return nil, err
		default:
			return refused("", err.Error()), nil
		}
	}
	if r.Collector != "fixture" && f.broken != "any collector" {
		return refused("", "there is only fixture"), nil
	}
	if e := f.mistake(given); e != nil {
		if f.broken == "drops what it refuses" {
			delete(f.instances, r.InstanceId)
		}
		return e, nil
	}
	if old, ok := f.instances[r.InstanceId]; ok && f.broken == "configured once" {
		r.Hostname = old.host
	}
	f.instances[r.InstanceId] = settings{r.Hostname, given}
	f.last = r.Hostname
	return &proto.ConfigureReply{Prompted: f.broken == "stream prompted" || f.broken == "stream prompted in vain"}, nil
}

func refused(option, message string) *proto.ConfigureReply {
	return &proto.ConfigureReply{Errors: []*proto.OptionError{{Option: option, Message: message}}}
}

// mistake finds the first option that is wrong.
func (f *fixture) mistake(given map[string]any) *proto.ConfigureReply {
	for key, value := range given {
		var ok bool
		switch key {
		case "sides":
			_, ok = value.(float64)
		case "names":
			_, ok = value.([]any)
		case "extra":
			_, ok = value.(map[string]any)
		default:
			switch f.broken {
			case "takes unknown options":
				continue
			case "dies of unknown options":
				os.Exit(2)
			case "does not say which option":
				return refused("", "something is wrong")
			case "goes by what it refuses":
				for id := range f.instances {
					f.instances[id] = settings{host: hostname + "-after"}
				}
			}
			return refused(key, "unknown option")
		}
		if !ok && f.broken == "dies of wrong types" {
			os.Exit(2)
		}
		if !ok && f.broken != "takes wrong types" {
			return refused(key, "wrong type")
		}
	}
	if _, ok := given["names"]; !ok && f.broken == "needs an option" {
		return refused("names", "must name somebody")
	}
	return nil
}

func (f *fixture) Gather(ctx context.Context, r *proto.GatherRequest) (*proto.GatherReply, error) {
	f.mu.Lock()
	s, ok := f.instances[r.InstanceId]
	last, stuck := f.last, f.stuck
	f.mu.Unlock()
	if !ok {
		switch f.broken {
		case "answers anyone":
		case "dies of unknown instances":
			os.Exit(2)
		case "unknown instance is another error":
			return nil, errors.New("who?")
		default:
			return nil, status.Error(codes.NotFound, "who?")
		}
	}
	time.Sleep(30 * time.Millisecond)
	switch {
	case f.broken == "stream prompted in vain", stuck, f.broken == "hangs":
		<-ctx.Done()
		return nil, ctx.Err()
	case ctx.Err() != nil && f.broken == "hangs once cancelled":
		f.mu.Lock()
		f.stuck = true
		f.mu.Unlock()
	case ctx.Err() != nil && f.broken == "dies once cancelled":
		os.Exit(2)
	}
	host := s.host
	switch f.broken {
	case "gathers with an error":
		return &proto.GatherReply{Error: "no such device"}, nil
	case "cannot gather":
		return nil, errors.New("no such device")
	case "dies gathering":
		os.Exit(2)
	case "no lines":
		return &proto.GatherReply{}, nil
	case "mixes instances":
		host = last
	case "prints":
		fmt.Println("rolling")
	case "leaves a child":
		// In a session of its own, and its pipes closed: as a daemon.
		child := exec.Command("/bin/sleep", "60")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			return nil, err
		}
	}
	return &proto.GatherReply{Lines: []byte(f.lines(host))}, nil
}

func (f *fixture) lines(host string) string {
	good := "roll,node=" + host + " value=3i\n"
	switch f.broken {
	case "bad line":
		return good + "roll value=\n"
	case "seconds":
		return "roll value=3i 1700000000\n"
	case "other measurement":
		return good + "spin value=1i\n"
	case "same point twice":
		return good + good
	}
	return good
}

func (f *fixture) Stream(_ *proto.StreamRequest, to proto.Collector_StreamServer) error {
	switch f.broken {
	case "stream is not served":
		return status.Error(codes.Unimplemented, "no stream")
	case "stream ends":
		return nil
	case "stream fails":
		return errors.New("unplugged")
	case "stream dies":
		os.Exit(2)
	case "stream opens once":
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.streamed {
			return errors.New("streamed already")
		}
		f.streamed = true
	}
	lines := "roll value=3i\n"
	if f.broken == "stream of bad lines" {
		lines = "roll value\n"
	}
	if err := to.Send(&proto.GatherReply{Lines: []byte(lines)}); err != nil {
		return err
	}
	<-to.Context().Done()
	return nil
}

func (f *fixture) Release(_ context.Context, r *proto.ReleaseRequest) (*proto.ReleaseReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.instances[r.InstanceId]
	if !ok && f.broken == "releases once" {
		return nil, status.Error(codes.NotFound, "who?")
	}
	if f.broken == "releases all" {
		clear(f.instances)
	}
	if f.broken != "never releases" {
		delete(f.instances, r.InstanceId)
	}
	return &proto.ReleaseReply{}, nil
}
