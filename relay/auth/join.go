package auth

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// patternSigns make a pattern for several nodes of a name.
const patternSigns = `*?[]{}\`

// NameTaken is why a machine may not join: another has joined under its name, or
// somebody has made a token for that by hand.
type NameTaken struct{ Token Token }

// Error implements error.
func (e *NameTaken) Error() string {
	t := &e.Token
	since := t.Created.Format("2006-01-02 15:04 MST")
	if t.Machine == "" {
		return fmt.Sprintf("%q has a token already that was made by hand on %s. Give this machine another host name, or join with --name NAME; "+
			"or, if it is that node, run on the relay: sudo vitals-relay token revoke %s", t.Node, since, t.ID)
	}
	return fmt.Sprintf("another machine has joined as %q, on %s from %s. Give this one another host name, or join with --name NAME; "+
		"or, if the other is gone, run on the relay: sudo vitals-relay token revoke %s", t.Node, since, t.JoinedFrom, t.ID)
}

// Free refuses the name of a node that another machine, or nobody knows which, has.
func (g *Guard) Free(node, machine string) error {
	_, err := g.held(sorted(g.known()), node, machine)
	return err
}

// held are the tokens that a machine has got under a name that is its own.
func (g *Guard) held(known []*entry, node, machine string) (own []*entry, err error) {
	now := g.config.Now()
	for _, e := range known {
		switch {
		case e.Node != node || e.Role == Read:
		case e.Machine == machine:
			own = append(own, e)
		case e.Expires.IsZero() || now.Before(e.Expires):
			return nil, &NameTaken{e.Token}
		}
	}
	return own, nil
}

// Join makes the token of a machine that has joined under the name of a node.
// What the same machine got before under this name is revoked by it; the name
// of another machine is not given away.
func (g *Guard) Join(node, machine, from string) (Token, string, error) {
	if node == "" || strings.ContainsAny(node, patternSigns) {
		return Token{}, "", fmt.Errorf("%.40q cannot be the name of one node", node)
	}
	return g.add(Token{Node: node, Role: Write, Machine: machine, JoinedFrom: from}, 0, func(known []*entry) ([]*entry, error) {
		return g.held(known, node, machine)
	})
}

// Leave revokes the token that a node shows. Before that it calls retire with
// the node's name; if that fails, or the disk, nothing has changed.
func (g *Guard) Leave(r *http.Request, retire func(node string) error) error {
	grant, err := g.identify(r, g.config.Now())
	if err != nil {
		g.count(err)
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.known()[grant.id]
	switch {
	case e == nil: // a certificate, or it was revoked in this moment
		return ErrWrong
	case e.Role != Write || strings.ContainsAny(e.Node, patternSigns):
		return &Forbidden{e.ID}
	}
	if err := retire(e.Node); err != nil {
		return err
	}
	known := maps.Clone(g.known())
	delete(known, e.ID)
	if err := g.save(known); err != nil {
		return fmt.Errorf("revoke the token: %w", err)
	}
	g.tokens.Store(&known)
	g.config.Logger.Info("a node leaves; its token is revoked", "id", e.ID, "node", e.Node, "joined", e.Created.Format(time.RFC3339))
	return nil
}
