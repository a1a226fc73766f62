package web

import (
	"bytes"
	"fmt"
	"html/template"
	"slices"
	"sync"
	"time"

	"github.com/rpicluster/vitals/relay/fleet"
)

// board is the overview as it was shown last, with the version in which each
// part of it changed. However many watch, it is made once a second, and each
// viewer is sent what has changed since the version that it has.
//
//	fleet ─Nodes─► cards ─┬─ changed since version 7 ─► viewer A
//	status ──────► summary┘  changed since version 5 ─► viewer B
type board struct {
	template *template.Template
	nodes    func() []fleet.Node
	summary  func(nodes []fleet.Node) any // what the summary's template shows
	now      func() time.Time

	mu      sync.Mutex
	epoch   int64 // of this program's run: versions begin anew with it
	version uint64
	made    time.Time
	size    size
	sized   uint64 // the version in which size became what it is
	cards   map[string]*placed
	gone    []departed
	text    part // the summary
}

// part is a piece of HTML and the version in which it became what it is.
type part struct {
	html    string
	version uint64
}

// placed is a card on the board. It is drawn when somebody is to be sent it.
type placed struct {
	part
	node   fleet.Node
	badges string
}

// departed is a card that was taken away.
type departed struct {
	name    string
	version uint64
}

// maxGone bounds what is remembered of cards that were taken away: who has not
// looked for longer begins anew.
const maxGone = 1000

// update is what a viewer is to be sent.
type update struct {
	Version uint64
	Reload  bool     // too much has changed: the page is to be loaded again
	Cards   []string // trouble first
	Gone    []string
	Summary string // empty if it has not changed
}

// since brings the board up to date and returns what has changed after a
// version of an epoch, with all cards for who has not got them yet.
func (b *board) since(epoch int64, version uint64, all bool) (update, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(); err != nil {
		return update{}, err
	}
	u := update{Version: b.version}
	if epoch != b.epoch || version > b.version || version < b.sized || len(b.gone) == maxGone && version < b.gone[0].version {
		u.Reload = true
		return u, nil
	}
	if err := b.draw(&u, func(c *placed) bool { return all || c.version > version }); err != nil {
		return u, err
	}
	for _, d := range b.gone {
		if d.version > version && b.cards[d.name] == nil { // else it is back
			u.Gone = append(u.Gone, d.name)
		}
	}
	if b.text.version > version {
		u.Summary = b.text.html
	}
	return u, nil
}

// draw adds the cards that are wanted.
func (b *board) draw(u *update, wanted func(*placed) bool) error {
	type drawn struct {
		order order
		html  string
	}
	var cards []drawn
	for _, p := range b.cards {
		if !wanted(p) {
			continue
		}
		if p.html == "" {
			html, err := b.render("card.html", newCard(&p.node, b.size))
			if err != nil {
				return err
			}
			p.html = html
		}
		cards = append(cards, drawn{orderOf(&p.node), p.html})
	}
	slices.SortFunc(cards, func(a, b drawn) int { return a.order.compare(b.order) })
	for _, c := range cards {
		u.Cards = append(u.Cards, c.html)
	}
	return nil
}

// at brings the board up to date and returns its version.
func (b *board) at() (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.refresh()
	return b.version, err
}

// refresh makes the board anew if it is older than a second.
func (b *board) refresh() error {
	now := b.now()
	if age := now.Sub(b.made); age >= 0 && age < time.Second {
		return nil
	}
	b.made = now
	nodes := b.nodes()
	next := b.version + 1
	changed := false
	if s := sizeFor(len(nodes)); s != b.size {
		b.size, b.sized, b.cards, changed = s, next, nil, true
	}
	if b.cards == nil {
		b.cards = map[string]*placed{}
	}
	there := make(map[string]bool, len(nodes))
	for i := range nodes {
		there[nodes[i].Name] = true
		changed = b.place(&nodes[i], next) || changed
	}
	for name := range b.cards {
		if !there[name] {
			delete(b.cards, name)
			b.depart(name, next)
			changed = true
		}
	}
	html, err := b.render("summary.html", b.summary(nodes))
	if err != nil {
		return err
	}
	if html != b.text.html {
		b.text, changed = part{html, next}, true
	}
	if changed {
		b.version = next
	}
	return nil
}

func (b *board) depart(name string, version uint64) {
	if len(b.gone) == maxGone {
		b.gone = slices.Delete(b.gone, 0, 1)
	}
	b.gone = append(b.gone, departed{name, version})
}

// place puts a node on the board, if its card is another one than before.
func (b *board) place(n *fleet.Node, next uint64) (changed bool) {
	was := b.cards[n.Name]
	badges := fmt.Sprint(n.Badges())
	if was != nil && was.node.LastSeen.Equal(n.LastSeen) && was.node.State == n.State && was.badges == badges {
		return false
	}
	b.cards[n.Name] = &placed{part{"", next}, *n, badges}
	return true
}

func (b *board) render(name string, data any) (string, error) {
	var out bytes.Buffer
	err := b.template.ExecuteTemplate(&out, name, data)
	return out.String(), err
}
