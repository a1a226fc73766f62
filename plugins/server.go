package plugins

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/plugins/proto"
)

// apiMinor is the revision of the contract within version 1 that this package
// speaks.
const apiMinor = 1

// server answers the host: the gRPC service around instances.
type server struct {
	proto.UnimplementedCollectorServer
	descriptions []Description
	log          *slog.Logger

	mu        sync.Mutex
	instances map[string]*instance
}

var _ proto.CollectorServer = (*server)(nil)

// NewServer is the service of Serve without a process around it, for tests and
// for hosts that want a collector in their own process.
func NewServer(log *slog.Logger, d ...Description) proto.CollectorServer {
	return newServer(log, d)
}

func newServer(log *slog.Logger, d []Description) *server {
	return &server{descriptions: d, log: log, instances: make(map[string]*instance)}
}

// Describe implements the service.
func (s *server) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeReply, error) {
	reply := &proto.DescribeReply{ApiMinor: apiMinor, Sdk: "vitals-go"}
	for _, d := range s.descriptions {
		reply.Collectors = append(reply.Collectors, describe(d))
	}
	return reply, nil
}

func describe(d Description) *proto.CollectorDescription {
	c := d.New()
	kind := proto.Kind_KIND_POLL
	if _, ok := c.(Streamer); ok {
		kind = proto.Kind_KIND_STREAM
	}
	return &proto.CollectorDescription{
		Name:              d.Name,
		Aliases:           d.Aliases,
		Version:           d.Version,
		Description:       d.Description,
		SampleConfig:      sample(d),
		Options:           optionNames(c),
		Measurements:      d.Measurements,
		Kind:              kind,
		DefaultIntervalNs: int64(d.Interval),
	}
}

// Configure implements the service. The new instance takes the place of an
// old one only when nothing is wrong with it.
func (s *server) Configure(ctx context.Context, r *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	d, ok := s.find(r.Collector)
	if !ok {
		message := fmt.Sprintf("no collector %q here; there are %s", r.Collector, strings.Join(s.names(), ", "))
		return &proto.ConfigureReply{Errors: []*proto.OptionError{{Message: message}}}, nil
	}
	log := s.logger(d, r)
	in, errs := s.build(d, r, log)
	if len(errs) > 0 {
		return &proto.ConfigureReply{Errors: errs}, nil
	}
	if err := in.prime(ctx); err != nil {
		log.Warn("first reading of counters", "error", err)
	}
	s.mu.Lock()
	old := s.instances[r.InstanceId]
	s.instances[r.InstanceId] = in
	s.mu.Unlock()
	if old != nil {
		old.release()
	}
	return in.wishes(), nil
}

// wishes is what the host shall do differently for this instance.
func (in *instance) wishes() *proto.ConfigureReply {
	reply := &proto.ConfigureReply{}
	if c, ok := in.collector.(HostOmitter); ok {
		reply.OmitHost = c.OmitHost()
	}
	if c, ok := in.collector.(Prompter); ok {
		reply.Prompted = c.Prompted()
	}
	if c, ok := in.collector.(Patient); ok {
		reply.GatherTimeoutNs = int64(c.Patience())
	}
	return reply
}

// close ends every instance and waits until they have ended, or patience has.
func (s *server) close(patience time.Duration) {
	s.mu.Lock()
	var all []<-chan struct{}
	for _, in := range s.instances {
		all = append(all, in.release())
	}
	clear(s.instances)
	s.mu.Unlock()
	enough := time.After(patience)
	for _, over := range all {
		select {
		case <-over:
		case <-enough:
			return
		}
	}
}

// build makes the instance; a panic in New, Validate or a decoder is reported
// like any other mistake.
func (s *server) build(d Description, r *proto.ConfigureRequest, log *slog.Logger) (*instance, []*proto.OptionError) {
	in := newInstance(nil, r.Hostname, log)
	var errs []OptionError
	if err := guard(log, func() error { in.collector, errs = configure(d, r.ConfigToml); return nil }); err != nil {
		errs = []OptionError{{Message: err.Error()}}
	}
	var wire []*proto.OptionError
	for _, e := range errs {
		wire = append(wire, &proto.OptionError{Option: e.Option, Message: e.Message})
	}
	return in, wire
}

func (s *server) logger(d Description, r *proto.ConfigureRequest) *slog.Logger {
	h := leveled{s.log.Handler(), parseLevel(r.LogLevel)}
	return slog.New(h).With("collector", d.Name, "instance", r.InstanceId)
}

// Gather implements the service.
func (s *server) Gather(ctx context.Context, r *proto.GatherRequest) (*proto.GatherReply, error) {
	in, err := s.instance(r.InstanceId)
	if err != nil {
		return nil, err
	}
	result, err := in.gather(ctx)
	if err != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return wireReply(result), nil
}

// Stream implements the service.
func (s *server) Stream(r *proto.StreamRequest, to proto.Collector_StreamServer) error {
	in, err := s.instance(r.InstanceId)
	if err != nil {
		return err
	}
	streamer, ok := in.collector.(Streamer)
	if !ok {
		return status.Error(codes.Unimplemented, "this collector does not stream; gather it")
	}
	err = in.stream(to.Context(), streamer, time.Duration(r.PrecisionNs), func(r reply) error {
		return to.Send(wireReply(r))
	})
	if err != nil && to.Context().Err() == nil {
		return to.Send(wireReply(reply{err: err}))
	}
	return nil
}

// Release implements the service.
func (s *server) Release(_ context.Context, r *proto.ReleaseRequest) (*proto.ReleaseReply, error) {
	s.mu.Lock()
	in := s.instances[r.InstanceId]
	delete(s.instances, r.InstanceId)
	s.mu.Unlock()
	if in != nil {
		in.release()
	}
	return &proto.ReleaseReply{}, nil
}

func (s *server) instance(id string) (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.instances[id]; in != nil {
		return in, nil
	}
	return nil, status.Errorf(codes.NotFound, "no instance %q; configure it first", id)
}

func (s *server) find(name string) (Description, bool) {
	i := slices.IndexFunc(s.descriptions, func(d Description) bool {
		return d.Name == name || slices.Contains(d.Aliases, name)
	})
	if i < 0 {
		return Description{}, false
	}
	return s.descriptions[i], true
}

func (s *server) names() []string {
	names := make([]string, len(s.descriptions))
	for i, d := range s.descriptions {
		names[i] = d.Name
	}
	return names
}

// wireReply makes both parts fit to be sent: protobuf refuses a string that
// is not UTF-8, and an error is worth more than its odd bytes.
func wireReply(r reply) *proto.GatherReply {
	out := &proto.GatherReply{Lines: r.lines}
	if r.err != nil {
		out.Error = strings.ToValidUTF8(r.err.Error(), "\uFFFD")
	}
	return out
}
