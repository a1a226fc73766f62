package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// Mode says what is done about requests without the right credentials.
type Mode string

// The modes. Observe accepts them and lists who sent them.
const (
	Off      Mode = "off"
	Observe  Mode = "observe"
	Required Mode = "required"
)

// NodeCheck says what is done about a line of another node than the writer's.
type NodeCheck string

// Enforce refuses such lines, Overwrite makes them the writer's, Ignore takes
// them.
const (
	Enforce   NodeCheck = "enforce"
	Overwrite NodeCheck = "overwrite"
	Ignore    NodeCheck = "off"
)

// Config is what a Guard needs.
type Config struct {
	Mode      Mode
	NodeCheck NodeCheck
	Directory string // where the tokens are kept
	Limits    Limits // of each token
	Now       func() time.Time
	Logger    *slog.Logger
}

// Guard knows the tokens and decides what each request may.
type Guard struct {
	config    Config
	slow      slow
	codes     slow // those of invites and logins
	logins    logins
	seen      observations
	series    *series     // nil: new ones are not limited
	strangers *line.Nodes // finds whose lines somebody unknown writes
	counters  counters
	sessions  sessions
	logged    atomic.Int64

	tokens   atomic.Pointer[map[string]*entry] // nil: they are not known
	machines machines

	mu      sync.Mutex // of changes to the tokens
	trouble string     // why they are not known, or not all
}

type counters struct{ missing, wrong, forbidden, slowed, limited, unavailable, foreign atomic.Int64 }

// New makes a guard. Tokens that cannot be read do not keep a relay from its
// work: whoever shows one is told to come again.
func New(config Config) *Guard {
	g := &Guard{config: config}
	g.strangers = &line.Nodes{Allowed: func(string) bool { return false }, Tolerate: true, Other: "unknown", Nameless: "unknown"}
	if config.Limits.Series > 0 && config.Mode != Off {
		g.series = newSeries(config.Now())
	}
	if err := g.Reload(); err != nil && config.Mode != Off {
		config.Logger.Error("the tokens are not known; whoever shows one is told to come again", "error", err)
	}
	return g
}

// Admit decides what a request may. A nil Grant allows everything.
func (g *Guard) Admit(r *http.Request, role Role) (*Grant, error) {
	if g.config.Mode == Off {
		return nil, nil
	}
	now := g.config.Now()
	grant, err := g.check(r, role, now)
	if err == nil {
		return grant, nil
	}
	g.count(err)
	if g.config.Mode == Observe {
		reason := observedReason(err)
		if role != Write { // else it is seen with its node
			g.seen.add(now, r, "", reason)
		}
		return &Grant{role: Admin, nodes: g.strangers, guard: g, observed: reason}, nil
	}
	if last := g.logged.Load(); now.UnixNano()-last > int64(10*time.Second) && g.logged.CompareAndSwap(last, now.UnixNano()) {
		g.config.Logger.Warn("a request is refused; see vitals-relay status for how many are", "address", hostOf(r.RemoteAddr), "path", r.URL.Path, "reason", observedReason(err))
	}
	return nil, err
}

func (g *Guard) check(r *http.Request, role Role, now time.Time) (*Grant, error) {
	grant, err := g.identify(r, now)
	if err != nil {
		return nil, err
	}
	if !grant.May(role) {
		return nil, &Forbidden{grant.id}
	}
	if role == Write && grant.spent != nil {
		if wait := grant.spent.wait(now); wait > 0 {
			g.counters.limited.Add(1)
			return nil, &SlowDown{"this token has written more than its limits allow in a minute", wait}
		}
	}
	return grant, nil
}

// identify finds out who asks: by the token, else by the certificate.
func (g *Guard) identify(r *http.Request, now time.Time) (*Grant, error) {
	token, noUser, err := shown(r)
	if errors.Is(err, ErrMissing) {
		if nodes := certifiedNodes(r.TLS); len(nodes) > 0 {
			return g.machine(nodes), nil
		}
	}
	if err != nil {
		return nil, err
	}
	tokens := g.tokens.Load()
	if tokens == nil {
		return nil, ErrUnavailable
	}
	id, secret, _ := cut(token)
	e := (*tokens)[id]
	host := hostOf(r.RemoteAddr)
	// Over its allowance, a network is heard only with a token that was right
	// when it last came from there: guessing must not lock a fleet out that
	// shares the address.
	if wait := g.slow.wait(host, now); wait > 0 && (e == nil || !e.cameFrom(host)) {
		g.counters.slowed.Add(1)
		return nil, &SlowDown{"too many wrong credentials from this address", wait}
	}
	// The same work whether there is such a token or not.
	var want [sha256.Size]byte
	if e != nil {
		want = e.hash
	}
	var text [maxShown]byte
	sum := sha256.Sum256(text[:copy(text[:], secret)])
	right := subtle.ConstantTimeCompare(sum[:], want[:]) == 1
	if !right || e == nil || !e.Expires.IsZero() && now.After(e.Expires) {
		g.slow.fail(host, now)
		if noUser {
			return nil, ErrNoUser
		}
		return nil, ErrWrong
	}
	e.used(now, host)
	return e.grant, nil
}

func (g *Guard) count(err error) {
	c := &g.counters
	switch {
	case errors.Is(err, ErrMissing):
		c.missing.Add(1)
	case errors.Is(err, ErrForbidden):
		c.forbidden.Add(1)
	case errors.Is(err, ErrUnavailable):
		c.unavailable.Add(1)
	case errors.Is(err, ErrWrong), errors.Is(err, ErrNoUser), errors.Is(err, ErrMalformed):
		c.wrong.Add(1)
	}
}

// observedReason says to the operator why a request is, or would be, refused.
func observedReason(err error) string {
	switch {
	case errors.Is(err, ErrMissing):
		return "shows no credentials"
	case errors.Is(err, ErrMalformed):
		return "shows an Authorization header of an unknown form"
	case errors.Is(err, ErrWrong), errors.Is(err, ErrNoUser):
		return "its token is unknown, revoked or expired"
	}
	return err.Error()
}

// accepted is told of every body that is kept.
func (g *Guard) accepted(grant *Grant, r *http.Request, rep line.Report, p line.Precision, body []byte) {
	if grant.observed == "" && grant.spent == nil && rep.Foreign == 0 {
		return
	}
	now := g.config.Now()
	switch {
	case grant.observed != "":
		g.seen.add(now, r, string(rep.Stranger), grant.observed)
		return
	case rep.Foreign > 0:
		g.counters.foreign.Add(int64(rep.Foreign))
		if g.config.Mode == Observe {
			g.seen.add(now, r, string(rep.Stranger), grant.nodes.Other)
		}
	}
	if grant.spent != nil {
		amounts := [kinds]float64{float64(len(body)), float64(rep.Lines)}
		if g.series != nil {
			amounts[2] = float64(g.series.add(now, grant.id, rep, p, body))
		}
		grant.spent.spend(now, amounts)
	}
}

// Mode is what is done about requests without the right credentials.
func (g *Guard) Mode() Mode { return g.config.Mode }

// RequireRole lets only requests with a role come to next, where credentials
// are required: a token, or a browser's session. A person who has neither is
// sent to signIn. A request that takes long, as a stream does, ends soon after
// what it showed is no longer good.
func (g *Guard) RequireRole(role Role, signIn string, next http.Handler) http.Handler {
	if g.config.Mode != Required {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := func() bool { grant := g.signedIn(r); return grant != nil && grant.May(role) }
		if session() {
			serveWhile(session, next, w, r)
			return
		}
		grant, err := g.Admit(r, role)
		var slow *SlowDown
		switch {
		case err == nil:
			serveWhile(func() bool { now := g.grantOf(grant.id); return now != nil && now.May(role) }, next, w, r)
		case errors.As(err, &slow):
			w.Header().Set("Retry-After", "10")
			http.Error(w, slow.Reason, http.StatusTooManyRequests)
		case errors.Is(err, ErrUnavailable):
			w.Header().Set("Retry-After", "10")
			http.Error(w, "no token is known to the relay just now; vitals-relay status says why", http.StatusServiceUnavailable)
		case errors.Is(err, ErrForbidden):
			http.Error(w, "this token's role is not "+string(role)+"; vitals-relay token create --role "+string(role)+" makes one", http.StatusForbidden)
		case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Redirect(w, r, signIn+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			if r.Header.Get("Sec-Fetch-Mode") == "" { // no script of a page, which signs in by itself
				w.Header().Set("WWW-Authenticate", `Basic realm="vitals-relay", charset="UTF-8"`)
			}
			http.Error(w, "show a token: vitals-relay token create --role "+string(role)+" makes one", http.StatusUnauthorized)
		}
	})
}

// recheck is how often it is looked whether who is still being served may be.
const recheck = 2 * time.Second

// serveWhile ends the request's context once it is no longer good.
func serveWhile(good func() bool, next http.Handler, w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() {
		tick := time.NewTicker(recheck)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if !good() {
				cancel()
			}
		}
	})
	next.ServeHTTP(w, r.WithContext(ctx))
}
