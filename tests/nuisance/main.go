// Command vitals-plugin-nuisance is a collector for tests that misbehaves.
package main

import (
	"context"
	"os"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

// lines are one sound line among others that no collector of ours could write.
const lines = "nonsense\n,nonsense=1 x=1\nnuisance sound=1i\nnonsense x=\"no end\n"

type nuisance struct {
	plugin.NetRPCUnsupportedPlugin
	proto.UnimplementedCollectorServer

	does map[string]string // by instance
}

func (n *nuisance) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeReply, error) {
	return &proto.DescribeReply{Collectors: []*proto.CollectorDescription{{Name: "nuisance", Options: []string{"does"}}}}, nil
}

func (n *nuisance) Configure(_ context.Context, r *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	for _, does := range []string{"hang", "nonsense", "exit"} {
		if string(r.ConfigJson) == `{"does":"`+does+`"}` {
			n.does[r.InstanceId] = does
			return &proto.ConfigureReply{}, nil
		}
	}
	return &proto.ConfigureReply{Errors: []*proto.OptionError{{Option: "does", Message: "is none of them"}}}, nil
}

func (n *nuisance) Gather(_ context.Context, r *proto.GatherRequest) (*proto.GatherReply, error) {
	switch n.does[r.InstanceId] {
	case "hang":
		select {}
	case "exit":
		os.Exit(1)
	}
	return &proto.GatherReply{Lines: []byte(lines)}, nil
}

func (n *nuisance) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	proto.RegisterCollectorServer(s, n)
	return nil
}

func (n *nuisance) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func main() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugins.Handshake(),
		Plugins:         plugin.PluginSet{plugins.DispenseName: &nuisance{does: map[string]string{}}},
		GRPCServer:      plugin.DefaultGRPCServer,
	})
}
