package auth

import (
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFailures may come from a network at once, then one every failureEvery.
	maxFailures  = 10
	failureEvery = 6 * time.Second
	// maxNetworks bounds the memory for those that fail.
	maxNetworks = 4096
)

// slow slows those down who try tokens. IPv6 addresses are told apart by their
// first 64 bits: everybody has as many of the others as they like.
type slow struct {
	some atomic.Bool // no lock while nobody fails
	mu   sync.Mutex
	// free is, by network, when the whole allowance is there again.
	free map[string]time.Time
}

// wait is how long a host has to wait before it is heard again.
func (s *slow) wait(host string, now time.Time) time.Duration {
	if !s.some.Load() {
		return 0
	}
	network := networkOf(host)
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.free[network]
	if until.Before(now) {
		return 0
	}
	return max(0, until.Sub(now)-(maxFailures-1)*failureEvery)
}

// fail counts a failed attempt of a host.
func (s *slow) fail(host string, now time.Time) {
	network := networkOf(host)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == nil {
		s.free = map[string]time.Time{}
	}
	s.some.Store(true)
	until, known := s.free[network]
	if !known && len(s.free) >= maxNetworks {
		s.makeRoom(now)
	}
	if until.Before(now) {
		until = now
	}
	s.free[network] = until.Add(failureEvery)
}

// makeRoom drops what has expired, and a quarter of the rest if that is
// nothing: whoever has so many networks is not slowed down by this anyway.
func (s *slow) makeRoom(now time.Time) {
	maps.DeleteFunc(s.free, func(_ string, until time.Time) bool { return until.Before(now) })
	for network := range s.free {
		if len(s.free) <= maxNetworks*3/4 {
			break
		}
		delete(s.free, network)
	}
}

// hostOf is a remote address without its port.
func hostOf(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i >= 0 {
		remote = remote[:i]
	}
	return strings.Trim(remote, "[]")
}

// networkOf is what an address is slowed down by.
func networkOf(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Unmap().Is4() {
		return host
	}
	prefix, _ := addr.WithZone("").Prefix(64) // of an IPv6 address: cannot fail
	return prefix.String()
}
