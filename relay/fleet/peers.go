package fleet

import (
	"slices"
	"time"
)

// peers are the addresses that lines of one name come from. One machine may
// change its address; two machines under one name take turns.
type peers struct {
	list  [4]peer
	last  string
	turns int // changes of the address
	alone int // writes without one
}

type peer struct {
	address string
	at      time.Time
	writes  int
}

const (
	// takeTurns changes of the address make two machines of one, if each was
	// heard that often.
	takeTurns = 4
	// turnsFade is after how many writes from one address, or how many rhythms,
	// the turns are forgotten.
	turnsFade = 12
)

// note notes a write from an address.
func (p *peers) note(address string, at time.Time) {
	if address == "" {
		return
	}
	i := slices.IndexFunc(p.list[:], func(o peer) bool { return o.address == address })
	if i < 0 { // takes the place of the one that was silent for longest
		i = 0
		for j := range p.list {
			if p.list[j].at.Before(p.list[i].at) {
				i = j
			}
		}
		p.list[i] = peer{address: address}
	}
	p.list[i].at = at
	p.list[i].writes++
	switch p.last {
	case address, "":
		if p.alone++; p.alone > turnsFade {
			p.turns = 0
		}
	default:
		p.turns++
		p.alone = 0
	}
	p.last = address
}

// active are the addresses that write now, if they take turns.
func (p *peers) active(now time.Time, interval time.Duration) (addresses []string) {
	if p.turns < takeTurns {
		return nil
	}
	for _, o := range p.list {
		if o.writes >= takeTurns/2 && now.Sub(o.at) <= turnsFade*interval {
			addresses = append(addresses, o.address)
		}
	}
	slices.Sort(addresses)
	return addresses
}

// boots are the two last times, in seconds since 1970, at which a machine was
// started. One machine does not go back to an earlier one.
type boots struct {
	last, before int64
	back         int       // how often lines have gone back, of late
	twin         time.Time // when they last did
}

// note notes a time of start, and reports whether it is a later one than the
// last. Clocks are set, so some seconds are no difference.
func (b *boots) note(boot int64, at time.Time) (again bool) {
	const slack, fade = 30, 10 * time.Minute
	near := func(other int64) bool { return other != 0 && boot-other <= slack && other-boot <= slack }
	switch {
	case b.last == 0 || near(b.last):
		b.last = boot
	case near(b.before):
		if at.Sub(b.twin) > fade {
			b.back = 0
		}
		b.last, b.before, b.twin = boot, b.last, at
		b.back++
	default:
		again = boot > b.last
		b.last, b.before = boot, b.last
	}
	return again
}

// conflict names the addresses from which two or more machines write under one
// name, as their addresses or their uptimes tell; nil if it is one machine.
func (r *record) conflict(now time.Time, interval time.Duration) []string {
	addresses := r.peers.active(now, interval)
	if len(addresses) > 1 {
		return addresses
	}
	// A machine that stood still may go back once or twice: it writes late what it
	// read before.
	if r.boots.back >= takeTurns && now.Sub(r.boots.twin) <= turnsFade*interval {
		return []string{r.address}
	}
	return nil
}
