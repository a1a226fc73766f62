package auth

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Observed is a writer who would be refused if credentials were required.
type Observed struct {
	Address string    `json:"address"`
	Node    string    `json:"node,omitempty"`   // whose lines it wrote
	Reason  string    `json:"reason"`           // why it would be refused
	Client  string    `json:"client,omitempty"` // what it calls itself
	Count   int64     `json:"count"`            // requests
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}

// maxObserved bounds the list, maxObservedText what of a request is kept in it.
const (
	maxObserved     = 1000
	maxObservedText = 100
)

type observedKey struct{ address, node, reason string }

// observations is who would be refused.
type observations struct {
	mu   sync.Mutex
	seen map[observedKey]*Observed
}

func (o *observations) add(now time.Time, r *http.Request, node, reason string) {
	key := observedKey{hostOf(r.RemoteAddr), shorten(node), reason}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[observedKey]*Observed{}
	}
	seen := o.seen[key]
	if seen == nil {
		if len(o.seen) >= maxObserved {
			o.dropOldest()
		}
		seen = &Observed{Address: key.address, Node: key.node, Reason: reason, First: now}
		o.seen[key] = seen
	}
	seen.Count++
	seen.Last, seen.Client = now, shorten(r.UserAgent())
}

func (o *observations) dropOldest() {
	var oldest observedKey
	var at time.Time
	for key, seen := range o.seen {
		if at.IsZero() || seen.Last.Before(at) {
			oldest, at = key, seen.Last
		}
	}
	delete(o.seen, oldest)
}

// list is everybody, the latest first.
func (o *observations) list() []Observed {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Observed, 0, len(o.seen))
	for _, seen := range o.seen {
		list = append(list, *seen)
	}
	slices.SortFunc(list, func(a, b Observed) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.Address, b.Address), strings.Compare(a.Node, b.Node), strings.Compare(a.Reason, b.Reason))
	})
	return list
}

// shorten keeps what a request says of itself within bounds, and printable.
func shorten(text string) string {
	text = strings.Clone(text[:min(len(text), maxObservedText)])
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, text)
}
