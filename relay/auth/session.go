package auth

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"time"
)

const (
	// sessionCookie is where a browser keeps its session.
	sessionCookie = "vitals_session"
	// sessionIdle ends a session that nobody uses, maxSessions bounds them all.
	sessionIdle = 12 * time.Hour
	maxSessions = 1000
)

// sessions are the browsers that have signed in, by the hash of what their
// cookie holds. They end with the program.
type sessions struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]*session
}

type session struct {
	token string // the ID of the token it was opened with
	used  time.Time
}

// SignIn opens a session for who shows a token, so that a browser need not show
// it again.
func (g *Guard) SignIn(w http.ResponseWriter, r *http.Request, token string) error {
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
	secret := random(secretBytes)
	g.sessions.add(secret, grant.id, g.config.Now())
	http.SetCookie(w, g.cookie(r, secret, 0))
	return nil
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
	id, ok := g.sessions.find(c.Value, now)
	tokens := g.tokens.Load()
	if !ok || tokens == nil {
		return nil
	}
	e := (*tokens)[id]
	if e == nil || !e.Expires.IsZero() && now.After(e.Expires) {
		return nil
	}
	return e.grant
}

func (s *sessions) add(secret, token string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[[sha256.Size]byte]*session{}
	}
	for len(s.open) >= maxSessions {
		s.removeOldest()
	}
	s.open[sha256.Sum256([]byte(secret))] = &session{token, now}
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

func (s *sessions) find(secret string, now time.Time) (token string, ok bool) {
	key := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[key]
	if o == nil {
		return "", false
	}
	if now.Sub(o.used) > sessionIdle {
		delete(s.open, key)
		return "", false
	}
	o.used = now
	return o.token, true
}

func (s *sessions) remove(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(secret)))
}
