package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/program/programtest"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

func TestMain(m *testing.M) {
	programtest.Main()
	if len(os.Args) > 1 && os.Args[1] == "plugin" {
		serveFake()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "exec-plugin" {
		fmt.Fprintln(os.Stderr, program.Exec(os.Args[2:]))
		os.Exit(126)
	}
	os.Exit(m.Run())
}

// fake is a plugin that does what files in the directory of its option "dir"
// tell it to: everything that a real one may do wrong.
type fake struct {
	plugin.NetRPCUnsupportedPlugin
	proto.UnimplementedCollectorServer
	mu       sync.Mutex
	dirs     map[string]string
	gathers  int
	prompted sync.Map // of instances to chan struct{}
}

func serveFake() {
	f := &fake{dirs: map[string]string{}}
	go func() { // ends with the test, even if that is killed
		_, _ = io.Copy(io.Discard, os.NewFile(3, "lifeline"))
		os.Exit(0)
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugins.Handshake(),
		Plugins:         plugin.PluginSet{plugins.DispenseName: f},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
}

func (f *fake) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	proto.RegisterCollectorServer(s, f)
	return nil
}

func (f *fake) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (f *fake) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeReply, error) {
	return &proto.DescribeReply{Collectors: []*proto.CollectorDescription{
		{Name: "steady", Aliases: []string{"even"}},
		{Name: "rare", DefaultIntervalNs: int64(time.Hour)},
		{Name: "events", Kind: proto.Kind_KIND_STREAM},
		{Name: "exec"},
		{Name: "execd", Kind: proto.Kind_KIND_STREAM},
	}}, nil
}

func (f *fake) Configure(_ context.Context, r *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	var options struct {
		Dir, Folder, Wrong string
		OmitHost, Prompted bool
		Hang               bool
		Patience           time.Duration
	}
	if err := json.Unmarshal(r.ConfigJson, &options); err != nil {
		return nil, err
	}
	if text := string(r.ConfigJson); os.Getenv("FAKE_VERSION") == "renamed" != strings.Contains(text, `"folder"`) {
		return &proto.ConfigureReply{Errors: []*proto.OptionError{{Option: "folder", Message: "is what version renamed calls dir"}}}, nil
	}
	if options.Wrong != "" {
		return &proto.ConfigureReply{Errors: []*proto.OptionError{{Option: "Wrong", Message: "is wrong"}}}, nil
	}
	f.mu.Lock()
	if options.Hang {
		select {}
	}
	f.dirs[r.InstanceId] = options.Dir + options.Folder
	f.mu.Unlock()
	if options.Prompted {
		f.prompted.Store(r.InstanceId, make(chan struct{}, 1))
	}
	return &proto.ConfigureReply{
		OmitHost: options.OmitHost, Prompted: options.Prompted, GatherTimeoutNs: int64(options.Patience),
	}, nil
}

// misleading are log entries that look like go-plugin's own and are not.
const misleading = `{"@message": 5}
 {"@message": [1]}
{"@level": ["error"], "@message": "a list for a level"}
{"@timestamp": null, "@message": "no time"}
{"@level": "warn", "@message": "an honest entry", "@module": 7}
`

func (f *fake) Gather(_ context.Context, r *proto.GatherRequest) (*proto.GatherReply, error) {
	f.mu.Lock()
	f.gathers++
	dir, gathers := f.dirs[r.InstanceId], f.gathers
	f.mu.Unlock()
	does := func(what string) bool {
		_, err := os.Stat(filepath.Join(dir, what))
		return err == nil
	}
	if prompt, ok := f.prompted.Load(r.InstanceId); ok {
		prompt.(chan struct{}) <- struct{}{}
		return &proto.GatherReply{}, nil
	}
	lines := fmt.Sprintf("steady value=1i,pid=%di,gathers=%di,began=%di,version=%q\n", os.Getpid(), gathers, time.Now().UnixNano(), os.Getenv("FAKE_VERSION"))
	switch {
	case does("freeze-version-" + os.Getenv("FAKE_VERSION")):
		select {}
	case does("hang"):
		select {}
	case does("freeze"):
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case does("deny"):
		return nil, status.Error(codes.NotFound, "the sensor is not there")
	case does("exit"):
		os.Exit(3)
	case does("panic"):
		go func() { panic("a collector's goroutine") }()
		select {}
	case does("offspring"):
		cmd := exec.Command("sleep", "600")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		lines = fmt.Sprintf("steady child=%di\n", cmd.Process.Pid)
	case does("slow"):
		time.Sleep(400 * time.Millisecond)
	case does("late"):
		time.Sleep(2 * time.Second)
	case does("bad"):
		lines += "no fields\n,x=1 v=1\nsteady value=2i\nsteady value=\"open\n"
	case does("rubbish"):
		lines = "no fields\nnothing\n"
	case does("big"):
		lines = strings.Repeat("steady value=1i\n", program.MaxReply/16+1)
	case does("error"):
		return &proto.GatherReply{Lines: []byte(lines), Error: "half of it is missing"}, nil
	case does("complain"):
		return &proto.GatherReply{Error: fmt.Sprint("this time it is ", time.Now())}, nil
	case does("flood"):
		os.Stderr.Write(bytes.Repeat([]byte("a line of a log that goes on and on\n"), 20_000))
	case does("misleading"):
		_, _ = syscall.Write(2, []byte(misleading)) // os.Stderr is go-plugin's by now
	case does("environment"):
		dir, _ := os.Getwd()
		lines = fmt.Sprintf("steady directory=%q,environment=%q\n", dir, strings.ReplaceAll(strings.Join(os.Environ(), " "), `"`, ""))
	}
	return &proto.GatherReply{Lines: []byte(lines)}, nil
}

func (f *fake) Stream(r *proto.StreamRequest, to proto.Collector_StreamServer) error {
	if prompt, ok := f.prompted.Load(r.InstanceId); ok {
		for {
			select {
			case <-prompt.(chan struct{}):
			case <-to.Context().Done():
				return nil
			}
			if err := to.Send(&proto.GatherReply{Lines: fmt.Appendf(nil, "event precision=%di\n", r.PrecisionNs)}); err != nil {
				return err
			}
		}
	}
	for i := range 3 {
		if err := to.Send(&proto.GatherReply{Lines: fmt.Appendf(nil, "event n=%di,pid=%di\n", i, os.Getpid())}); err != nil {
			return err
		}
	}
	return nil
}
