package join

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rpicluster/vitals/relay/auth"
)

// maxRequest is more than any machine has to say.
const maxRequest = 4 << 10

// request is what a machine says that wants to join.
type request struct {
	Code    string `json:"code"`
	Node    string `json:"node"`
	Machine string `json:"machine"`
	Version string `json:"version"`
}

// answer is what it gets.
type answer struct {
	Node     string            `json:"node"`
	Token    string            `json:"token"`
	TokenID  string            `json:"token_id"`
	Database string            `json:"database"`
	Tags     map[string]string `json:"tags"`
	Interval string            `json:"interval"`
}

// problem is what it gets instead: a sentence for people, a word for programs.
type problem struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

var (
	// nodeName is a host name, with or without its domain.
	nodeName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$`)
	// machineSum is a SHA-256.
	machineSum = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// tagKey is what needs no escaping in lines, nor quotes in TOML.
	tagKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)
)

const maxTags, maxTagValue = 16, 200

// checkTags refuses tags that an invite cannot give to a node.
func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fmt.Errorf("--tag: an invite has %d at most", maxTags)
	}
	for key, value := range tags {
		switch {
		case !tagKey.MatchString(key):
			return fmt.Errorf("--tag: %.40q cannot be a tag's name; use letters, digits, dashes and underscores", key)
		case key == "host" || key == "node" || key == "time":
			return fmt.Errorf("--tag: %s is not for an invite to say", key)
		case value == "" || len(value) > maxTagValue || strings.HasSuffix(value, `\`) ||
			strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
			return fmt.Errorf("--tag %s: %.40q cannot be a tag's value", key, value)
		case strings.Contains(value, "$") || strings.Contains(value, "@{"):
			return fmt.Errorf("--tag %s: %.40q would be a variable or a secret in the node's file; leave $ and @{ out", key, value)
		}
	}
	return nil
}

// join exchanges the code of an invite for a token.
func (h *Handler) join(w http.ResponseWriter, r *http.Request) {
	if !h.config.Enabled {
		refuse(w, http.StatusNotFound, "disabled", `this relay checks no writer, so there is nothing to join: set mode = "required" below [relay.auth] on it and restart it, or write a node file by hand`)
		return
	}
	var in request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil {
		status := http.StatusBadRequest
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		refuse(w, status, "invalid", "the request cannot be read: "+err.Error())
		return
	}
	if err := h.config.Tokens.HearCode(r); err != nil {
		h.fail(w, r, err)
		return
	}
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	out := answer{Node: in.Node, Database: h.config.Database, Interval: h.config.Interval.String()}
	use := Use{Node: in.Node, Machine: in.Machine, From: from}
	err = h.config.Invites.Redeem(in.Code, use, func() error { return h.check(&in) }, func(i Invite) error {
		t, text, err := h.config.Tokens.Join(in.Node, in.Machine, from)
		if err != nil {
			return err
		}
		out.Token, out.TokenID, out.Tags = text, t.ID, i.Tags
		h.config.Logger.Info("a node has joined", "node", in.Node, "from", from, "invite", i.ID, "token", t.ID, "version", in.Version)
		return nil
	})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	respond(w, http.StatusOK, out)
}

// invalid is what is wrong with a request whose code is right.
type invalid string

// Error implements error.
func (e invalid) Error() string { return string(e) }

// check refuses who cannot join, before that costs anything.
func (h *Handler) check(in *request) error {
	if !nodeName.MatchString(in.Node) {
		return invalid(fmt.Sprintf("%.40q cannot be the name of a node: give the machine a host name of letters, digits, dots, dashes and underscores, or join with --name NAME", in.Node))
	}
	if !machineSum.MatchString(in.Machine) {
		return invalid("the machine does not say which it is (machine: 64 hexadecimal digits)")
	}
	return h.config.Tokens.Free(in.Node, in.Machine)
}

// leave revokes the token that a node shows, and retires the node.
func (h *Handler) leave(w http.ResponseWriter, r *http.Request) {
	err := h.config.Tokens.Leave(r, h.config.Retire)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, auth.ErrForbidden):
		refuse(w, http.StatusForbidden, "forbidden", "this token is not that of one node; on the relay, sudo vitals-relay token revoke ID ends it")
	case errors.Is(err, auth.ErrMissing), errors.Is(err, auth.ErrMalformed), errors.Is(err, auth.ErrWrong), errors.Is(err, auth.ErrNoUser):
		refuse(w, http.StatusUnauthorized, "wrong", "this token is unknown here, or revoked already")
	default:
		h.fail(w, r, err)
	}
}

// fail says why a machine does not get what it wants.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	var slow *auth.SlowDown
	var taken *auth.NameTaken
	var bad invalid
	switch {
	case errors.As(err, &slow):
		seconds := max(1, int(math.Ceil(slow.After.Seconds())))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		refuse(w, http.StatusTooManyRequests, "slow", fmt.Sprintf("%s; try again in %d s", slow.Reason, seconds))
	case errors.Is(err, errWrong):
		h.config.Tokens.WrongCode(r)
		h.warn(r)
		refuse(w, http.StatusForbidden, "wrong", err.Error())
	case errors.Is(err, errExpired):
		refuse(w, http.StatusGone, "expired", err.Error())
	case errors.Is(err, errUsed):
		refuse(w, http.StatusGone, "used", err.Error())
	case errors.As(err, &taken):
		refuse(w, http.StatusConflict, "name_taken", err.Error())
	case errors.As(err, &bad):
		refuse(w, http.StatusBadRequest, "invalid", err.Error())
	default: // the disk's, and nothing for strangers' eyes
		h.config.Logger.Error("a machine can neither join nor leave just now", "error", err)
		w.Header().Set("Retry-After", "30")
		refuse(w, http.StatusServiceUnavailable, "unavailable", "the relay cannot keep this just now, for want of room on its disk or for another reason that its log has; nothing has changed, so try again when that is mended")
	}
}

// warn logs wrong codes, one of many.
func (h *Handler) warn(r *http.Request) {
	now := time.Now().UnixNano()
	if last := h.warned.Load(); now-last > int64(10*time.Second) && h.warned.CompareAndSwap(last, now) {
		h.config.Logger.Warn("somebody wants to join with a wrong code", "address", r.RemoteAddr)
	}
}

func refuse(w http.ResponseWriter, status int, word, text string) {
	respond(w, status, problem{text, word})
}

func respond(w http.ResponseWriter, status int, v any) {
	body, _ := json.Marshal(v) // of text only: cannot fail
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
