package join

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
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
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/relay/code"
)

const (
	// codeGroups is how long an invite's code is: 80 random bits, so that its
	// SHA-256 gives nothing away.
	codeGroups = 4
	// remembered is how long an invite is kept beyond its end, to tell whoever
	// comes late.
	remembered = 24 * time.Hour

	maxLifetime = 30 * 24 * time.Hour
	maxUses     = 10_000
	maxInvites  = 1000
)

// Invite is what is known of an invite. Its code is not.
type Invite struct {
	ID      string            `json:"id"`
	Created time.Time         `json:"created"`
	Expires time.Time         `json:"expires"`
	Uses    int               `json:"uses"` // how many machines may join with it
	Tags    map[string]string `json:"tags,omitempty"`
	Used    []Use             `json:"used,omitempty"`
}

// Use is a machine that has joined.
type Use struct {
	Node    string    `json:"node"`
	Machine string    `json:"machine"`
	From    string    `json:"from"`
	At      time.Time `json:"at"`
}

// usedBy reports whether a machine has joined with the invite under a name.
func (i *Invite) usedBy(node, machine string) bool {
	return slices.ContainsFunc(i.Used, func(u Use) bool { return u.Node == node && u.Machine == machine })
}

// stored is an invite in the file.
type stored struct {
	Invite
	SHA256 string `json:"sha256"` // of the code
}

type inviteFile struct {
	Invites []stored `json:"invites"`
}

// Why a code is not taken.
var (
	errWrong   = errors.New("this code is wrong, or its invite was revoked; on the relay, sudo vitals-relay invite makes another")
	errExpired = errors.New("this invite has expired; on the relay, sudo vitals-relay invite makes another")
	errUsed    = errors.New("this invite is used up; on the relay, sudo vitals-relay invite makes another, for several machines with --uses N")
)

// Invites are the invites, in a file.
type Invites struct {
	path string
	now  func() time.Time

	mu    sync.Mutex // also of the exchange of a code for a token
	known []stored   // as in the file
	read  bool       // known is what the file says
}

// OpenInvites keeps invites in a file of a directory. A file that cannot be read
// is an error of whoever needs it, not of the relay's start.
func OpenInvites(directory string, now func() time.Time) *Invites {
	return &Invites{path: filepath.Join(directory, "invites.json"), now: now}
}

// load reads the file where that is still to be done. The caller holds mu.
func (s *Invites) load() error {
	if s.read {
		return nil
	}
	data, err := os.ReadFile(s.path)
	var f inviteFile
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, i := range f.Invites {
		if sum, hexErr := hex.DecodeString(i.SHA256); err == nil && (hexErr != nil || len(sum) != sha256.Size) {
			err = fmt.Errorf("the invite %q has no SHA-256", i.ID)
		}
	}
	if err != nil {
		return fmt.Errorf("read the invites in %s: %w; mend the file or move it away", s.path, err)
	}
	s.known, s.read = f.Invites, true
	return nil
}

// save replaces the file, and then what is known. Invites that are long over are
// left out.
func (s *Invites) save(next []stored) error {
	now := s.now()
	next = slices.DeleteFunc(next, func(i stored) bool { return now.After(i.Expires.Add(remembered)) })
	if err := durable.WriteJSON(s.path, inviteFile{next}); err != nil {
		return fmt.Errorf("keep the invites: %w", err)
	}
	s.known = next
	return nil
}

// Check refuses what an invite cannot be.
func Check(lifetime time.Duration, uses int, tags map[string]string) error {
	switch {
	case lifetime < time.Minute || lifetime > maxLifetime:
		return errors.New("--for must be between 1m and 30d")
	case uses < 1 || uses > maxUses:
		return fmt.Errorf("--uses must be between 1 and %d", maxUses)
	}
	return checkTags(tags)
}

// Create makes an invite. Its code is known from now on only to whoever gets it.
func (s *Invites) Create(lifetime time.Duration, uses int, tags map[string]string) (Invite, string, error) {
	if err := Check(lifetime, uses, tags); err != nil {
		return Invite{}, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return Invite{}, "", err
	}
	if len(s.known) >= maxInvites {
		return Invite{}, "", fmt.Errorf("there are %d invites; revoke some: vitals-relay invite list", len(s.known))
	}
	text := code.New(codeGroups)
	sum, _ := code.Sum(text, codeGroups)
	now := s.now().UTC().Truncate(time.Second)
	i := Invite{ID: s.newID(), Created: now, Expires: now.Add(lifetime), Uses: uses, Tags: maps.Clone(tags)}
	return i, text, s.save(append(slices.Clone(s.known), stored{i, hex.EncodeToString(sum[:])}))
}

func (s *Invites) newID() string {
	for {
		b := make([]byte, 5)
		rand.Read(b) // ends the program rather than fail
		id := strings.ToLower(base32.StdEncoding.EncodeToString(b))
		if s.index(id) < 0 {
			return id
		}
	}
}

func (s *Invites) index(id string) int {
	return slices.IndexFunc(s.known, func(i stored) bool { return i.ID == id })
}

// List is every invite, the oldest first, those of the last day that are over
// among them.
func (s *Invites) List() ([]Invite, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return nil, err
	}
	list := []Invite{}
	for _, i := range s.known {
		i.Used = slices.Clone(i.Used)
		list = append(list, i.Invite)
	}
	return list, nil
}

// Revoke ends an invite. Who has joined with it stays.
func (s *Invites) Revoke(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return err
	}
	at := s.index(id)
	if at < 0 {
		return fmt.Errorf("there is no invite %.40q; vitals-relay invite list has those that there are", id)
	}
	return s.save(slices.Delete(slices.Clone(s.known), at, at+1))
}

// Forget removes the invites that are long over.
func (s *Invites) Forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return err
	}
	now := s.now()
	if !slices.ContainsFunc(s.known, func(i stored) bool { return now.After(i.Expires.Add(remembered)) }) {
		return nil
	}
	return s.save(slices.Clone(s.known))
}

// Redeem gives a machine a place of the invite that a code belongs to, and then
// calls give; nobody else can take one meanwhile. check, called before, refuses
// the machine at no cost. The place is the machine's under this name even if give
// fails: it may come again as often as it likes while the invite lasts.
func (s *Invites) Redeem(text string, use Use, check func() error, give func(Invite) error) error {
	sum, ok := code.Sum(text, codeGroups)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return err
	}
	at := s.find(sum)
	if !ok || at < 0 {
		return errWrong
	}
	i := s.known[at].Invite
	now := s.now()
	has := i.usedBy(use.Node, use.Machine)
	switch {
	case !now.Before(i.Expires):
		return errExpired
	case !has && len(i.Used) >= i.Uses:
		return errUsed
	}
	if err := check(); err != nil {
		return err
	}
	if !has {
		use.At = now.UTC().Truncate(time.Second)
		next := slices.Clone(s.known)
		next[at].Used = append(slices.Clone(i.Used), use)
		if err := s.save(next); err != nil {
			return err
		}
	}
	return give(i)
}

// find is the place of the invite with a code's sum; -1: there is none.
func (s *Invites) find(sum [sha256.Size]byte) int {
	want := hex.EncodeToString(sum[:])
	found := -1
	for at, i := range s.known {
		if subtle.ConstantTimeCompare([]byte(i.SHA256), []byte(want)) == 1 {
			found = at
		}
	}
	return found
}
