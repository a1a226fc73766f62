package auth

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/rpicluster/vitals/relay/code"
)

const (
	// sessionCookie is where a browser keeps its session.
	sessionCookie = "vitals_session"
	// sessionIdle ends a session that nobody uses, sessionAge any, as a page that
	// stays open is always in use. maxSessions bounds them all.
	sessionIdle = 12 * time.Hour
	sessionAge  = 30 * 24 * time.Hour
	maxSessions = 1000
)

// sessions are the browsers that have signed in, by the hash of what their
// cookie holds. They end with the program.
type sessions struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]*session
}

type session struct {
	token  string // the ID of the token it was opened with …
	grant  *Grant // … or, with a code, what it may
	opened time.Time
	used   time.Time
}

// SignIn opens a session for who shows a token or the code of a login, so that a
// browser need not show it again.
func (g *Guard) SignIn(w http.ResponseWriter, r *http.Request, token string) error {
	if sum, ok := code.Sum(token, loginGroups); ok {
		grant, err := g.login(r, sum)
		if err != nil {
			return err
		}
		g.open(w, r, session{grant: grant})
		return nil
	}
	asked := r.Clone(r.Context())
	asked.Header = http.Header{"Authorization": {"Bearer " + token}}
	grant, err := g.identify(asked, g.config.Now())
	if err != nil {
		g.count(err)
		return err
	}
	if !grant.May(Read) {
		return &Forbidden{grant.id}
	}
	g.open(w, r, session{token: grant.id})
	return nil
}

// open gives a browser a session.
func (g *Guard) open(w http.ResponseWriter, r *http.Request, s session) {
	secret := random(secretBytes)
	s.opened = g.config.Now()
	s.used = s.opened
	g.sessions.add(secret, s)
	http.SetCookie(w, g.cookie(r, secret, 0))
}

// SignOut ends the session of a browser.
func (g *Guard) SignOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		g.sessions.remove(c.Value)
	}
	http.SetCookie(w, g.cookie(r, "", -1))
}

// cookie is sent by the browser to nobody else, and shown to no script.
func (g *Guard) cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	}
}

// signedIn returns the grant of a browser's session; nil if it has none, or if
// its token is no longer good.
func (g *Guard) signedIn(r *http.Request) *Grant {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	now := g.config.Now()
	s, ok := g.sessions.find(c.Value, now)
	switch {
	case !ok:
		return nil
	case s.grant != nil:
		return s.grant
	}
	return g.grantOf(s.token)
}

// grantOf returns the grant of a token; nil if it is no longer good.
func (g *Guard) grantOf(id string) *Grant {
	tokens := g.tokens.Load()
	if tokens == nil {
		return nil
	}
	e := (*tokens)[id]
	if e == nil || !e.Expires.IsZero() && g.config.Now().After(e.Expires) {
		return nil
	}
	return e.grant
}

func (s *sessions) add(secret string, o session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[[sha256.Size]byte]*session{}
	}
	for len(s.open) >= maxSessions {
		s.removeOldest()
	}
	s.open[sha256.Sum256([]byte(secret))] = &o
}

func (s *sessions) removeOldest() {
	var oldest [sha256.Size]byte
	var at time.Time
	for key, o := range s.open {
		if at.IsZero() || o.used.Before(at) {
			oldest, at = key, o.used
		}
	}
	delete(s.open, oldest)
}

func (s *sessions) find(secret string, now time.Time) (found session, ok bool) {
	key := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[key]
	if o == nil {
		return found, false
	}
	if now.Sub(o.used) > sessionIdle || now.Sub(o.opened) > sessionAge {
		delete(s.open, key)
		return found, false
	}
	o.used = now
	return *o, true
}

func (s *sessions) remove(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(secret)))
}
