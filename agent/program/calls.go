package program

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	// maxErrorText bounds what a plugin may say about one thing that is wrong.
	maxErrorText = 1 << 10
	// maxPatience bounds how long a plugin may wish to be waited for.
	maxPatience = time.Hour
	// maxMistakes bounds how many options are told of.
	maxMistakes = 20
)

// calls is what a process has been asked and what it has answered: the texts
// in its answers are made fit to be read, for they end in logs and terminals.
type calls struct {
	proto.CollectorClient
	underWay atomic.Int64
	answered atomic.Int64 // when it last did, in nanoseconds since the epoch
}

// Gather is the service's, with errors fit to be read.
func (c *calls) Gather(ctx context.Context, r *proto.GatherRequest, o ...grpc.CallOption) (*proto.GatherReply, error) {
	c.underWay.Add(1)
	defer c.underWay.Add(-1)
	reply, err := c.CollectorClient.Gather(ctx, r, o...)
	if err != nil {
		return nil, readable(err)
	}
	return c.answer(reply), nil
}

// Configure is the service's, with mistakes fit to be read.
func (c *calls) Configure(ctx context.Context, r *proto.ConfigureRequest, o ...grpc.CallOption) (*proto.ConfigureReply, error) {
	c.underWay.Add(1)
	defer c.underWay.Add(-1)
	reply, err := c.CollectorClient.Configure(ctx, r, o...)
	if err != nil {
		return nil, readable(err)
	}
	reply.GatherTimeoutNs = min(max(reply.GatherTimeoutNs, 0), int64(maxPatience))
	reply.Errors = reply.Errors[:min(len(reply.Errors), maxMistakes)]
	for _, e := range reply.Errors {
		e.Option, e.Message = oneLine(e.Option, 100), oneLine(e.Message, maxErrorText)
	}
	return reply, nil
}

// Stream is the service's, with errors fit to be read.
func (c *calls) Stream(ctx context.Context, r *proto.StreamRequest, o ...grpc.CallOption) (proto.Collector_StreamClient, error) {
	s, err := c.CollectorClient.Stream(ctx, r, o...)
	if err != nil {
		return nil, readable(err)
	}
	return &stream{s, c}, nil
}

type stream struct {
	proto.Collector_StreamClient
	calls *calls
}

// Recv waits for the next reply.
func (s *stream) Recv() (*proto.GatherReply, error) {
	reply, err := s.Collector_StreamClient.Recv()
	if err != nil {
		return nil, readable(err)
	}
	return s.calls.answer(reply), nil
}

func (c *calls) answer(r *proto.GatherReply) *proto.GatherReply {
	c.answered.Store(time.Now().UnixNano())
	r.Error = oneLine(r.Error, maxErrorText)
	return r
}

// silentFor is how long ago the process last answered; 0 while it is asked
// something that has a deadline of its own.
func (c *calls) silentFor(now time.Time) time.Duration {
	if c.underWay.Load() > 0 {
		return 0
	}
	return now.Sub(time.Unix(0, c.answered.Load()))
}

// readable is err with a message fit to be read; io.EOF stays what it is.
func readable(err error) error {
	if s, ok := status.FromError(err); ok {
		return status.Error(s.Code(), oneLine(s.Message(), maxErrorText))
	}
	return err
}
