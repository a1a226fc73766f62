//go:build !fault_ackearly

package spool

import "time"

// settle makes reqs durable, then answers them. Who is answered finds its commit
// counted.
func (s *Spool) settle(reqs []*request) error {
	began := time.Now()
	err := s.write(reqs)
	if err == nil && s.cfg.Committed != nil {
		s.cfg.Committed(time.Since(began))
	}
	for _, r := range reqs {
		r.done <- err
	}
	return err
}
