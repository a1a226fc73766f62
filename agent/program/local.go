package program

import (
	"context"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/rpicluster/vitals/plugins/proto"
)

// Local is a Process that is this very one: collectors that the agent answers
// itself. It never ends.
func Local(server proto.CollectorServer) *Process {
	// Described without a context, for nothing here can hang.
	serves, _ := server.Describe(context.Background(), &proto.DescribeRequest{})
	return &Process{
		calls:   &calls{CollectorClient: local{server: server}},
		serves:  serves.GetCollectors(),
		started: time.Now(),
		child:   &child{exited: make(chan struct{}), pid: os.Getpid(), reaped: true},
	}
}

// local calls a service without a connection.
type local struct {
	proto.CollectorClient // Stream: none of the agent's own collectors does
	server                proto.CollectorServer
}

// Describe calls the service.
func (l local) Describe(ctx context.Context, r *proto.DescribeRequest, _ ...grpc.CallOption) (*proto.DescribeReply, error) {
	return l.server.Describe(ctx, r)
}

// Configure calls the service.
func (l local) Configure(ctx context.Context, r *proto.ConfigureRequest, _ ...grpc.CallOption) (*proto.ConfigureReply, error) {
	return l.server.Configure(ctx, r)
}

// Gather calls the service.
func (l local) Gather(ctx context.Context, r *proto.GatherRequest, _ ...grpc.CallOption) (*proto.GatherReply, error) {
	return l.server.Gather(ctx, r)
}

// Release calls the service.
func (l local) Release(ctx context.Context, r *proto.ReleaseRequest, _ ...grpc.CallOption) (*proto.ReleaseReply, error) {
	return l.server.Release(ctx, r)
}
