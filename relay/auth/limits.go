package auth

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// Limits bound what one token may write in a minute; 0 is no limit. The body
// that oversteps one is still taken, and what is too much of it is waited for:
// so no body is ever too large to come through at all.
type Limits struct{ Bytes, Lines, Series int64 }

// kinds of a budget, as Limits has them.
const kinds = 3

// budget is what is left of a token's limits.
type budget struct {
	limits [kinds]float64 // a minute
	mu     sync.Mutex
	spent  [kinds]float64
	at     time.Time
}

func newBudget(l Limits) *budget {
	return &budget{limits: [kinds]float64{float64(l.Bytes), float64(l.Lines), float64(l.Series)}}
}

// wait is how long to wait until something is left of everything.
func (b *budget) wait(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recover(now)
	var wait time.Duration
	for i, limit := range b.limits {
		if over := b.spent[i] + 1 - limit; limit > 0 && over > 0 {
			wait = max(wait, time.Duration(over/limit*float64(time.Minute)))
		}
	}
	return wait
}

func (b *budget) spend(now time.Time, amounts [kinds]float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recover(now)
	for i, n := range amounts {
		b.spent[i] += n
	}
}

func (b *budget) recover(now time.Time) {
	minutes := max(0, now.Sub(b.at).Minutes())
	for i, limit := range b.limits {
		b.spent[i] = max(0, b.spent[i]-limit*minutes)
	}
	b.at = now
}

// generationBits and generationSeries size half of what remembers series: at
// the latter about one new series in fifty is taken for a known one.
const (
	generationBits   = 1 << 24
	generationSeries = generationBits / 8
	seriesHashes     = 4
	seriesAge        = 12 * time.Hour
)

// series remembers the series of all tokens in two Bloom filters, 2 MiB each:
// one is filled while the other still knows those of before.
type series struct {
	mu     sync.Mutex
	seed   maphash.Seed
	filter [2][]uint64
	count  int
	begun  time.Time
}

func newSeries(now time.Time) *series {
	s := &series{seed: maphash.MakeSeed(), begun: now}
	for i := range s.filter {
		s.filter[i] = make([]uint64, generationBits/64)
	}
	return s
}

// add remembers the series of a body and returns how many were not known.
func (s *series) add(now time.Time, id string, rep line.Report, p line.Precision, body []byte) (unknown int) {
	salt := maphash.String(s.seed, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= generationSeries || now.Sub(s.begun) > seriesAge {
		s.filter[0], s.filter[1] = s.filter[1], s.filter[0]
		clear(s.filter[0])
		s.count, s.begun = 0, now
	}
	line.EachKey(body, rep, p, func(key []byte) {
		h := maphash.Bytes(s.seed, key) ^ salt
		if has(s.filter[0], h) {
			return
		}
		if !has(s.filter[1], h) {
			unknown++
		}
		set(s.filter[0], h)
		s.count++
	})
	return unknown
}

// bit is the place of the i-th bit of a hash.
func bit(h uint64, i int) uint64 { return (h + uint64(i)*(h>>32|1)) % generationBits }

func has(filter []uint64, h uint64) bool {
	for i := range seriesHashes {
		if b := bit(h, i); filter[b/64]&(1<<(b%64)) == 0 {
			return false
		}
	}
	return true
}

func set(filter []uint64, h uint64) {
	for i := range seriesHashes {
		b := bit(h, i)
		filter[b/64] |= 1 << (b % 64)
	}
}
