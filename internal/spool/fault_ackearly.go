//go:build fault_ackearly

package spool

import "bytes"

// settle answers reqs before they are durable: a mistake that the fault tests
// must find. Each request is copied, as it is its sender's again then.
func (s *Spool) settle(reqs []*request) error {
	for i, r := range reqs {
		early := *r
		early.frames = nil
		for _, f := range r.frames {
			copied := *f
			copied.Body = bytes.Clone(f.Body)
			early.frames = append(early.frames, &copied)
		}
		reqs[i] = &early
		r.done <- nil
	}
	return s.write(reqs)
}
