package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/glob"
	"github.com/rpicluster/vitals/internal/line"
)

const (
	// saveUse is how often it is saved when tokens were last used.
	saveUse = 10 * time.Minute
	maxNode = 200
	// maxTokens bounds the tokens, and the nodes that come with certificates.
	maxTokens = 100_000
)

// errNone is why no token is known to a relay that never made one. It is not
// the same as an empty list: a data directory may have been mistaken.
var errNone = errors.New("there is none yet; vitals-relay invite lets a machine join, or vitals-relay token create --node NAME makes one")

func (g *Guard) file() string    { return filepath.Join(g.config.Directory, "tokens.json") }
func (g *Guard) useFile() string { return filepath.Join(g.config.Directory, "token-use.json") }

// Reload reads the tokens again. If that fails, those known stay so.
func (g *Guard) Reload() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	list, exists, err := readTokens(g.file())
	if err == nil && !exists {
		if g.tokens.Load() == nil {
			g.trouble = errNone.Error()
			return nil
		}
		err = errors.New("the file " + g.file() + " is gone")
	}
	if err != nil {
		g.trouble = err.Error()
		return err
	}
	old := g.known()
	known := make(map[string]*entry, len(list))
	for _, t := range list {
		e, err := g.entry(t)
		if err != nil {
			g.trouble = fmt.Sprintf("the token %s in %s: %v", t.ID, g.file(), err)
			return errors.New(g.trouble)
		}
		if before := old[t.ID]; before != nil {
			e.last.Store(before.last.Load())
			e.grant.spent = before.grant.spent
		}
		known[t.ID] = e
	}
	if len(old) == 0 {
		g.readUse(known)
	}
	g.trouble = ""
	g.tokens.Store(&known)
	return nil
}

func (g *Guard) known() map[string]*entry {
	if tokens := g.tokens.Load(); tokens != nil {
		return *tokens
	}
	return nil
}

func (g *Guard) entry(t stored) (*entry, error) {
	e := &entry{Token: t.Token}
	if n, err := hex.Decode(e.hash[:], []byte(t.SHA256)); err != nil || n != len(e.hash) {
		return nil, errors.New("its SHA-256 is none")
	}
	grant, err := g.newGrant(t.ID, t.Node, t.Role)
	e.grant = grant
	return e, err
}

// newGrant makes what a token for node may.
func (g *Guard) newGrant(id, node string, role Role) (*Grant, error) {
	grant := &Grant{id: id, role: role, guard: g}
	if g.config.Limits != (Limits{}) {
		grant.spent = newBudget(g.config.Limits)
	}
	if !slices.Contains([]Role{Write, Read, Admin}, role) {
		return nil, fmt.Errorf("the role %q is none of write, read and admin", role)
	}
	if err := checkNode(node); err != nil {
		return nil, err
	}
	if node == "" || node == "*" || g.config.NodeCheck == Ignore {
		return grant, nil
	}
	allowed := func(name string) bool { return name == node }
	pattern := strings.ContainsAny(node, patternSigns)
	if pattern {
		names, err := glob.Compile(node)
		if err != nil {
			return nil, fmt.Errorf("the pattern %q: %w", node, err)
		}
		allowed = names.Match
	}
	grant.nodes = g.nodes(node, allowed)
	if g.config.NodeCheck == Overwrite && g.config.Mode != Observe && !pattern {
		grant.owner, grant.nodes.Tolerate = node, true
	}
	return grant, nil
}

// nodes words what is wrong with the lines of others.
func (g *Guard) nodes(node string, allowed func(string) bool) *line.Nodes {
	reason := fmt.Sprintf("its token is only for the node %q", node)
	return &line.Nodes{
		Allowed: allowed, Tolerate: g.config.Mode == Observe,
		Other: reason, Nameless: reason + ", and the line has no tag host or node",
	}
}

// checkNode refuses names that cannot be the value of a tag.
func checkNode(node string) error {
	if len(node) > maxNode || !utf8.ValidString(node) || strings.ContainsFunc(node, func(r rune) bool { return !unicode.IsPrint(r) }) ||
		strings.HasSuffix(node, `\`) {
		return fmt.Errorf("%.40q cannot be the name of a node, nor a pattern for some", node)
	}
	return nil
}

// Check refuses what a token cannot be.
func Check(node string, role Role, lifetime time.Duration) error {
	switch {
	case role == Write && node == "":
		return errors.New("--node is missing: the name that the node's lines have as host; a pattern such as site-a-* for a gateway that writes for others; '*' for any")
	case lifetime < 0:
		return errors.New("--expires must be in the future, such as 90d")
	}
	_, err := new(Guard).newGrant("", node, role)
	return err
}

// Create makes a token. Its text, which holds the secret, is known from now on
// only to whoever gets it.
func (g *Guard) Create(node string, role Role, lifetime time.Duration) (t Token, text string, err error) {
	if err := Check(node, role, lifetime); err != nil {
		return t, "", err
	}
	return g.add(Token{Node: node, Role: role}, lifetime, nil)
}

// add keeps a new token in the place of those that it replaces (nil: of none).
func (g *Guard) add(wanted Token, lifetime time.Duration, replaces func([]*entry) ([]*entry, error)) (t Token, text string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tokens.Load() == nil && g.trouble != errNone.Error() {
		return t, "", fmt.Errorf("%w: %s; mend the file or move it away, then send the relay SIGHUP", ErrUnavailable, g.trouble)
	}
	known := maps.Clone(g.known())
	if known == nil {
		known = map[string]*entry{}
	}
	if replaces != nil {
		old, err := replaces(sorted(known))
		if err != nil {
			return t, "", err
		}
		for _, e := range old {
			delete(known, e.ID)
		}
	}
	if len(known) >= maxTokens {
		return t, "", fmt.Errorf("there are %d tokens; revoke some", len(known))
	}
	now := g.config.Now().UTC().Truncate(time.Second)
	wanted.ID, wanted.Created = random(idBytes), now
	if lifetime > 0 {
		wanted.Expires = now.Add(lifetime)
	}
	if known[wanted.ID] != nil {
		return t, "", errors.New("try again: the ID is taken")
	}
	secret := random(secretBytes)
	sum := sha256.Sum256([]byte(secret))
	e, err := g.entry(stored{wanted, hex.EncodeToString(sum[:])})
	if err != nil {
		return t, "", err
	}
	known[e.ID] = e
	if err := g.save(known); err != nil {
		return t, "", fmt.Errorf("keep the token: %w", err)
	}
	g.trouble = ""
	g.tokens.Store(&known)
	g.config.Logger.Info("a token is made", "id", e.ID, "node", e.Node, "role", string(e.Role))
	return e.Token, tokenPrefix + e.ID + "_" + secret, nil
}

// Revoke ends a token at once.
func (g *Guard) Revoke(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known()[id] == nil {
		return fmt.Errorf("there is no token %.40q; vitals-relay token list has those that there are", id)
	}
	known := maps.Clone(g.known())
	delete(known, id)
	g.tokens.Store(&known)
	g.config.Logger.Info("a token is revoked", "id", id)
	if err := g.save(known); err != nil {
		return fmt.Errorf("%s is refused from now on, but comes back when the relay starts again: %w", id, err)
	}
	return nil
}

// save replaces the file.
func (g *Guard) save(known map[string]*entry) error {
	f := tokenFile{Tokens: []stored{}}
	for _, e := range sorted(known) {
		f.Tokens = append(f.Tokens, stored{e.Token, hex.EncodeToString(e.hash[:])})
	}
	return durable.WriteJSON(g.file(), f)
}

func sorted(known map[string]*entry) []*entry {
	return slices.SortedFunc(maps.Values(known), func(a, b *entry) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// List is every token, the oldest first.
func (g *Guard) List() []Token {
	list := []Token{}
	for _, e := range sorted(g.known()) {
		list = append(list, e.show())
	}
	return list
}

// Run saves from time to time when tokens were last used, until ctx ends.
func (g *Guard) Run(ctx context.Context) {
	tick := time.NewTicker(saveUse)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.writeUse()
		case <-ctx.Done():
			g.writeUse()
			return
		}
	}
}

// tokenUse is what the file says of a token's last use.
type tokenUse struct {
	At   time.Time `json:"at"`
	From string    `json:"from"`
}

func (g *Guard) writeUse() {
	uses := map[string]tokenUse{}
	for id, e := range g.known() {
		if t := e.show(); !t.LastUsed.IsZero() {
			uses[id] = tokenUse{t.LastUsed, t.From}
		}
	}
	if len(uses) == 0 {
		return
	}
	if err := durable.WriteJSON(g.useFile(), uses); err != nil {
		g.config.Logger.Warn("it cannot be saved when tokens were last used", "error", err)
	}
}

// readUse is what was saved; without it nothing but a column of a table is lost.
func (g *Guard) readUse(known map[string]*entry) {
	data, err := os.ReadFile(g.useFile())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var uses map[string]tokenUse
	if err == nil {
		err = json.Unmarshal(data, &uses)
	}
	if err != nil {
		g.config.Logger.Warn("it is not known when tokens were last used", "error", err)
	}
	for id, u := range uses {
		if e := known[id]; e != nil {
			e.last.Store(&use{u.At, u.From})
		}
	}
}
