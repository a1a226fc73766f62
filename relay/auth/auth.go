// Package auth says who may write through the relay, who may look at it, and
// whose lines a writer may bring: by tokens that are kept hashed, or by the
// certificates of clients.
package auth

import (
	"errors"
	"net/http"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// Role is what a token is for.
type Role string

// The roles. Admin may do what the other two may.
const (
	Write Role = "write"
	Read  Role = "read"
	Admin Role = "admin"
	// Any is what a request needs that is everybody's who has a token.
	Any Role = ""
)

// Why a request is refused. None says more than whoever asks may know: an
// unknown token and a wrong secret are the same.
var (
	ErrMissing     = errors.New("no credentials")
	ErrMalformed   = errors.New("malformed credentials") // a header that is none of the known forms
	ErrWrong       = errors.New("wrong credentials")
	ErrNoUser      = errors.New("wrong credentials without a user")
	ErrForbidden   = errors.New("the token's role does not allow this")
	ErrUnavailable = errors.New("no token is known: none was made yet, or they cannot be read; vitals-relay status says which")
)

// SlowDown refuses a request for now: too many attempts failed from its
// address, or its token is over its limits.
type SlowDown struct {
	Reason string
	After  time.Duration
}

// Error implements error.
func (e *SlowDown) Error() string { return e.Reason }

// Forbidden is ErrForbidden for a token that is known.
type Forbidden struct{ ID string }

// Error implements error.
func (e *Forbidden) Error() string { return ErrForbidden.Error() }

// Is makes it an ErrForbidden.
func (e *Forbidden) Is(target error) bool { return target == ErrForbidden }

// Grant is what an admitted writer may do. It is shared by all requests of the
// same writer; a nil Grant, of a relay that checks nobody, allows everything.
type Grant struct {
	id   string
	role Role
	// nodes are whose lines may be written; nil: anybody's.
	nodes *line.Nodes
	// owner, if not empty, is the node whose lines all become.
	owner string
	// spent is what is left of the limits; nil: there are none.
	spent *budget
	guard *Guard
	// observed is why the request would be refused; empty: it would not.
	observed string
}

// ID names the token or the certificate; empty for one who showed none.
func (g *Grant) ID() string {
	if g == nil {
		return ""
	}
	return g.id
}

// May reports whether the grant covers a role.
func (g *Grant) May(role Role) bool {
	return g == nil || g.role == Admin || g.role == role || role == Any
}

// Nodes are whose lines may be written; nil: anybody's.
func (g *Grant) Nodes() *line.Nodes {
	if g == nil {
		return nil
	}
	return g.nodes
}

// Owner is the node whose all lines are to become; empty: they stay as they are.
func (g *Grant) Owner() string {
	if g == nil {
		return ""
	}
	return g.owner
}

// Accepted tells the grant that a body is durable whose scan with p gave rep.
func (g *Grant) Accepted(r *http.Request, rep line.Report, p line.Precision, body []byte) {
	if g != nil {
		g.guard.accepted(g, r, rep, p, body)
	}
}
