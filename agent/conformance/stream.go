package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/plugins/proto"
)

// streamTime is how long a stream is listened to.
const streamTime = 2 * time.Second

// stream listens to each collector that streams, twice, and keeps its replies.
func stream(ctx context.Context, c *check, v *verdict) {
	var streams, replies int
	for _, s := range c.subjects {
		if !s.streams() || len(s.tables) == 0 {
			continue
		}
		streams++
		id := c.id()
		wishes, err := c.configure(ctx, id, s, s.tables[0])
		if err == nil {
			if err = c.listen(ctx, s, id, wishes); err == nil {
				err = c.listenAgain(ctx, s, id, wishes)
			}
		}
		if err != nil {
			v.fail("%s: %v", s.name(), err)
		}
		c.release(ctx, id)
		if n := len(s.replies); n > 0 && s.replies[n-1].Error != "" {
			v.warn("%s: it says: %s", s.name(), shortened(s.replies[n-1].Error))
		}
		replies += len(s.replies)
	}
	if v.note = fmt.Sprintf("%d replies within %v", replies, 2*c.streamTime); streams == 0 {
		v.note = "none of its collectors streams"
	}
}

// listenAgain opens the stream a second time, as soon as the first has ended: a
// collector may need a moment for that.
func (c *check) listenAgain(ctx context.Context, s *subject, id string, wishes *proto.ConfigureReply) error {
	for until := time.Now().Add(c.gatherTimeout); ; sleep(ctx, c.primeTime) {
		before := len(s.replies)
		err := c.listen(ctx, s, id, wishes)
		if err == nil {
			return nil
		}
		s.replies = s.replies[:before]
		if time.Now().After(until) || ctx.Err() != nil {
			return fmt.Errorf("opened again: %w", err)
		}
	}
}

// listen opens the stream of an instance, prompts it if it likes to be, and
// closes it.
func (c *check) listen(ctx context.Context, s *subject, id string, wishes *proto.ConfigureReply) error {
	ctx, cancel := context.WithCancel(ctx) // without a deadline that the collector would know of
	defer cancel()
	defer time.AfterFunc(c.streamTime, cancel).Stop()
	from, err := c.process.Stream(ctx, &proto.StreamRequest{InstanceId: id})
	if err != nil {
		return fmt.Errorf("Stream: %w", plain(err))
	}
	prompted := make(chan error, 1)
	go func() {
		defer close(prompted)
		if wishes.Prompted {
			sleep(ctx, c.streamTime/4)
			_, err := c.gatherFor(ctx, id, wishes)
			prompted <- err
		}
	}()
	for {
		r, err := from.Recv()
		switch {
		case err == nil:
			s.replies = append(s.replies, r)
		case ctx.Err() != nil:
			if err := <-prompted; err != nil {
				return fmt.Errorf("prompted while it streams: %w", err)
			}
			return nil
		case status.Code(err) == codes.Unimplemented:
			return errors.New("it says that it streams, and serves no Stream")
		case err == io.EOF:
			return errors.New("Stream ends by itself")
		default:
			return fmt.Errorf("Stream: %w", plain(err))
		}
	}
}
