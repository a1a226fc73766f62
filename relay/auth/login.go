package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/rpicluster/vitals/relay/code"
)

const (
	// loginGroups is how long the code of a login is: 40 random bits, which are
	// plenty for one that is tried ten times and then every six seconds.
	loginGroups   = 2
	loginLifetime = 10 * time.Minute
	maxLogins     = 8
)

// errNoLogin is what is wrong with the code of a login.
var errNoLogin = errors.New("this code is wrong, used, or older than ten minutes; on the machine of the relay, sudo vitals-relay login makes another")

// logins are the codes that open a session once each. They are kept in memory
// and end with the program.
type logins struct {
	mu   sync.Mutex
	open []login // the oldest first
}

type login struct {
	sum     [sha256.Size]byte
	expires time.Time
}

// NewLogin makes a code with which a browser is signed in as admin, once and
// soon.
func (g *Guard) NewLogin() (text string, expires time.Time) {
	text, expires = code.New(loginGroups), g.config.Now().Add(loginLifetime)
	sum, _ := code.Sum(text, loginGroups)
	l := &g.logins
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, login{sum, expires})
	l.open = l.open[max(0, len(l.open)-maxLogins):]
	g.config.Logger.Info("a code to sign in is made", "until", expires.UTC().Format(time.RFC3339))
	return text, expires
}

// login uses a code up.
func (g *Guard) login(r *http.Request, sum [sha256.Size]byte) (*Grant, error) {
	if err := g.HearCode(r); err != nil {
		return nil, err
	}
	if !g.logins.use(sum, g.config.Now()) {
		g.WrongCode(r)
		g.counters.wrong.Add(1)
		return nil, errNoLogin
	}
	g.config.Logger.Info("somebody signs in with a code", "address", hostOf(r.RemoteAddr))
	return &Grant{id: "login code", role: Admin, guard: g}, nil
}

func (l *logins) use(sum [sha256.Size]byte, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := -1
	for i := range l.open {
		if subtle.ConstantTimeCompare(l.open[i].sum[:], sum[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return false
	}
	expires := l.open[found].expires
	l.open = append(l.open[:found], l.open[found+1:]...)
	return now.Before(expires)
}

// HearCode refuses to look at a code that comes from where too many were wrong.
// Their allowance is one of its own: a node with a wrong token keeps nobody
// from joining.
func (g *Guard) HearCode(r *http.Request) error {
	if wait := g.codes.wait(hostOf(r.RemoteAddr), g.config.Now()); wait > 0 {
		g.counters.slowed.Add(1)
		return &SlowDown{"too many wrong codes from this address", wait}
	}
	return nil
}

// WrongCode counts a code that was wrong against its sender.
func (g *Guard) WrongCode(r *http.Request) { g.codes.fail(hostOf(r.RemoteAddr), g.config.Now()) }
