package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// Token is what is known of a token. Its secret is not.
type Token struct {
	ID      string    `json:"id"`
	Node    string    `json:"node,omitempty"` // a name, or a pattern such as site-a-*
	Role    Role      `json:"role"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	// LastUsed is when the token last was right, From where it came from.
	LastUsed time.Time `json:"last_used,omitzero"`
	From     string    `json:"from,omitempty"`
	// Machine tells the machine that has joined with an invite from every other,
	// JoinedFrom is where it did that. Empty: somebody has made the token by hand.
	Machine    string `json:"machine,omitempty"`
	JoinedFrom string `json:"joined_from,omitempty"`
}

// stored is a token in the file.
type stored struct {
	Token
	SHA256 string `json:"sha256"` // of the secret
}

type tokenFile struct {
	Tokens []stored `json:"tokens"`
}

// use is where and when a token was last used.
type use struct {
	at   time.Time
	from string
}

// entry is a token in memory.
type entry struct {
	Token
	hash  [sha256.Size]byte
	grant *Grant
	last  atomic.Pointer[use]
}

// useEvery is how exactly it is known when a token was last used.
const useEvery = time.Second

// used notes a use; most are not worth an allocation.
func (e *entry) used(now time.Time, from string) {
	if last := e.last.Load(); last != nil && last.from == from && now.Sub(last.at) < useEvery && !now.Before(last.at) {
		return
	}
	e.last.Store(&use{now, from})
}

// cameFrom reports whether the token was last right when it came from the
// network of a host.
func (e *entry) cameFrom(host string) bool {
	last := e.last.Load()
	return last != nil && networkOf(last.from) == networkOf(host)
}

// show is the token with its last use.
func (e *entry) show() Token {
	t := e.Token
	if last := e.last.Load(); last != nil {
		t.LastUsed, t.From = last.at.UTC().Truncate(time.Second), last.from
	}
	return t
}

// readTokens reads the file; known says that there is one.
func readTokens(path string) (tokens []stored, known bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	var f tokenFile
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	for _, t := range f.Tokens {
		if sum, hexErr := hex.DecodeString(t.SHA256); err == nil && (hexErr != nil || len(sum) != sha256.Size || t.ID == "") {
			err = fmt.Errorf("the token %q has no SHA-256", t.ID)
		}
	}
	if err != nil {
		return nil, true, fmt.Errorf("read the tokens in %s: %w", path, err)
	}
	return f.Tokens, true, nil
}
