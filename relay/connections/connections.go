// Package connections bounds how many clients are connected at once, in all and
// from one address, so that those who only sit there shut out nobody.
//
// Beyond a bound the connection that has been idle for longest makes room. Where
// none is idle, the new one is told to come again; and where too many would have
// to be told, it is closed.
package connections

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Limiter counts the connections of a server.
type Limiter struct {
	max, perAddress int

	mu        sync.Mutex
	stats     Stats
	addresses map[netip.Prefix]*address
	idle      list.List // of *conn, the longest idle first
}

// Stats are a limiter's figures; all but Open and Crowded count since the start.
type Stats struct {
	Open    int   `json:"open"`
	Crowded int   `json:"crowded"` // of the open ones, those that are told to come again
	Told    int64 `json:"told"`    // connections that were
	Evicted int64 `json:"evicted"` // idle ones that made room
	Closed  int64 `json:"closed"`  // unheard
}

// address is where connections come from.
type address struct {
	open int
	idle list.List
}

// New makes a limiter of max connections, perAddress of them from one address.
func New(max, perAddress int) *Limiter {
	return &Limiter{max: max, perAddress: perAddress, addresses: map[netip.Prefix]*address{}}
}

// Stats returns the figures of this moment.
func (l *Limiter) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Listener returns ln with its connections counted. TLS belongs above it.
func (l *Limiter) Listener(ln net.Listener) net.Listener { return &listener{ln, l} }

// Watch follows the connections of a server that serves a Listener.
func (l *Limiter) Watch(s *http.Server) {
	s.ConnState = l.state
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if own := unwrap(c); own != nil && own.crowded {
			return context.WithValue(ctx, crowdedKey{}, true)
		}
		return ctx
	}
}

type crowdedKey struct{}

// Crowded reports whether a request came over a connection beyond the limits: it
// should be told to come again, and the connection be closed.
func Crowded(ctx context.Context) bool { return ctx.Value(crowdedKey{}) != nil }

type listener struct {
	net.Listener
	limiter *Limiter
}

// Accept implements net.Listener.
func (ln *listener) Accept() (net.Conn, error) {
	for {
		c, err := ln.Listener.Accept()
		if err != nil {
			return nil, err
		}
		own, evicted := ln.limiter.take(c)
		if evicted != nil {
			evicted.Conn.Close()
		}
		if own != nil {
			return own, nil
		}
		c.Close()
	}
}

// conn is a connection that is counted until it is closed.
type conn struct {
	net.Conn
	limiter *Limiter
	prefix  netip.Prefix
	crowded bool // told to come again; does not change

	// The following are guarded by limiter.mu. The elements are nil while a
	// request is under way.
	gone         bool
	all, address *list.Element
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.limiter.forget(c)
	return c.Conn.Close()
}

// CloseWrite lets a client read its answer although not all it sent was read.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// take counts a new connection. It returns nil for one that is to be closed, and
// the connection, if any, that has to make room.
func (l *Limiter) take(c net.Conn) (own, evicted *conn) {
	own = &conn{Conn: c, limiter: l, prefix: prefixOf(c.RemoteAddr())}
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.addresses[own.prefix]
	if from == nil {
		from = &address{}
	}
	switch {
	case from.open >= l.perAddress:
		evicted, own.crowded = longest(&from.idle)
	case l.stats.Open-l.stats.Crowded >= l.max:
		evicted, own.crowded = longest(&l.idle)
	}
	if own.crowded && l.stats.Crowded >= max(16, l.max/8) {
		l.stats.Closed++
		return nil, nil
	}
	if evicted != nil {
		l.stats.Evicted++
		l.drop(evicted)
	}
	l.stats.Open++
	if own.crowded {
		l.stats.Crowded++
		l.stats.Told++
		return own, nil
	}
	from.open++
	l.addresses[own.prefix] = from
	l.rest(own)
	return own, evicted
}

// longest returns the connection that has been idle for longest, or that there
// is none.
func longest(idle *list.List) (c *conn, none bool) {
	if front := idle.Front(); front != nil {
		return front.Value.(*conn), false
	}
	return nil, true
}

// state follows a connection between its requests.
func (l *Limiter) state(c net.Conn, state http.ConnState) {
	own := unwrap(c)
	if own == nil || own.crowded {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case own.gone:
	case state == http.StateActive:
		l.wake(own)
	case state == http.StateIdle:
		l.rest(own)
	}
}

// rest makes a connection the last to make room. l.mu is held.
func (l *Limiter) rest(c *conn) {
	l.wake(c)
	c.all, c.address = l.idle.PushBack(c), l.addresses[c.prefix].idle.PushBack(c)
}

// wake takes a connection from those that make room. l.mu is held.
func (l *Limiter) wake(c *conn) {
	if c.all != nil {
		l.idle.Remove(c.all)
		l.addresses[c.prefix].idle.Remove(c.address)
		c.all, c.address = nil, nil
	}
}

func (l *Limiter) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(c)
}

// drop stops counting a connection. l.mu is held.
func (l *Limiter) drop(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	l.stats.Open--
	if c.crowded {
		l.stats.Crowded--
		return
	}
	l.wake(c)
	from := l.addresses[c.prefix]
	if from.open--; from.open == 0 {
		delete(l.addresses, c.prefix)
	}
}

// unwrap finds the connection that is counted, below TLS, too.
func unwrap(c net.Conn) *conn {
	if below, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = below.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

// prefixOf is what counts as one address: of IPv6 a network of one client.
func prefixOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // of a valid address
	return prefix
}
