//go:build !fault_ackearly

package spool

// settle makes reqs durable, then answers them.
func (s *Spool) settle(reqs []*request) error {
	err := s.write(reqs)
	for _, r := range reqs {
		r.done <- err
	}
	return err
}
