package influx

import (
	"context"
	"slices"
	"sync"
)

// Proof is a write that a server has taken and, being the same points, would
// take again. The zero value is none yet. It may be used by several goroutines.
type Proof struct {
	mu     sync.Mutex
	target Target
	body   []byte
}

// maxProof bounds what is remembered to be written again.
const maxProof = 64 << 10

func (p *Proof) remember(t Target, body []byte) {
	if len(body) > maxProof {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target, p.body = t, append(p.body[:0], body...)
}

// known returns the write; its body is nil if there is none.
func (p *Proof) known() (Target, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target, slices.Clone(p.body)
}

func (s *Sender) proof() *Proof {
	if s.Proof == nil {
		s.Proof = new(Proof)
	}
	return s.Proof
}

// Prove writes a batch that is delivered later, so that there is something to
// compare the failures of another with.
func (s *Sender) Prove(ctx context.Context, t Target, body []byte) {
	if s.Client.Write(ctx, t, body) == nil {
		s.proof().remember(t, body)
	}
}

// fails reports whether the server is known to fail a write that it took before.
func (s *Sender) fails(ctx context.Context) bool {
	err := s.serverIsSound(ctx)
	return err != nil && err != ErrUnproven
}

// serverIsSound reports whether the server takes a write that it took before.
func (s *Sender) serverIsSound(ctx context.Context) error {
	t, body := s.proof().known()
	if body == nil {
		return ErrUnproven
	}
	if e := asWriteError(s.Client.Write(ctx, t, body)); e != nil {
		return e
	}
	return nil
}
