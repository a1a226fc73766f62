package plugins

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	// DispenseName is what a host dispenses from PluginSet.
	DispenseName = "collector"
	// LifelineEnv names the variable that holds the number of a file
	// descriptor in the plugin's process. The host keeps the other end of that
	// pipe open; when it reaches its end, the host is gone and the plugin goes
	// too.
	LifelineEnv = "VITALS_LIFELINE_FD"
	// GuardEnv names the variable that holds the directory of all the sockets
	// of a host, for a process that is the host's own program. When the host is
	// killed, that process ends what other plugins have left.
	GuardEnv = "VITALS_GUARDED_SOCKETS"
	// AddedEnv names the variable that lists, with commas between them, those
	// that the host has added to the environment of a plugin for its own sake.
	// Programs that a collector runs for its owner do not see them.
	AddedEnv = "VITALS_PLUGIN_ADDED"
)

// Handshake is what a host and a plugin must agree on to talk at all. The
// cookie is no secret: it tells a program started by an agent from one started
// by hand.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "VITALS_PLUGIN", MagicCookieValue: "collector"}
}

// PluginSet is what a host passes to go-plugin; dispensing DispenseName from
// it gives a proto.CollectorClient.
func PluginSet() plugin.PluginSet { return plugin.PluginSet{DispenseName: &grpcPlugin{}} }

// grpcPlugin connects the service with go-plugin in a host.
type grpcPlugin struct{ plugin.NetRPCUnsupportedPlugin }

var _ plugin.GRPCPlugin = (*grpcPlugin)(nil)

// GRPCServer is for plugins, which have Serve.
func (p *grpcPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host's PluginSet cannot be served")
}

// GRPCClient makes the calls of a connection.
func (p *grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return proto.NewCollectorClient(c), nil
}
