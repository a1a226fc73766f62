package auth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/internal/pin"
)

// watchEvery is how often the files of certificates are looked at.
const watchEvery = 5 * time.Second

// Certificates are the files of a listener with TLS.
type Certificates struct {
	CertFile, KeyFile string
	// ClientCAFile, if set, has the authorities of clients' certificates.
	ClientCAFile string
	// ClientRequired refuses clients that have none.
	ClientRequired bool

	current atomic.Pointer[tls.Config]
}

// Pin is the pin of the key that new connections get.
func (c *Certificates) Pin() string {
	if config := c.current.Load(); config != nil {
		return pin.Of(config.Certificates[0].Leaf)
	}
	return ""
}

// Fingerprint is the SHA-256 of the certificate, as browsers show it.
func (c *Certificates) Fingerprint() string {
	config := c.current.Load()
	if config == nil {
		return ""
	}
	text := fmt.Sprintf("% X", sha256.Sum256(config.Certificates[0].Leaf.Raw))
	return strings.ReplaceAll(text, " ", ":")
}

// Trusted reports whether this machine would trust the certificate of a name, so
// that others may, too, and need not pin its key.
func (c *Certificates) Trusted(name string) bool {
	config := c.current.Load()
	if config == nil {
		return false
	}
	chain := x509.NewCertPool()
	for _, der := range config.Certificates[0].Certificate[1:] {
		if certificate, err := x509.ParseCertificate(der); err == nil {
			chain.AddCert(certificate)
		}
	}
	_, err := config.Certificates[0].Leaf.Verify(x509.VerifyOptions{DNSName: name, Intermediates: chain})
	return err == nil
}

// Load reads the files. If it fails, what was loaded before stays in use.
func (c *Certificates) Load() error {
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return fmt.Errorf("read the certificate: %w; see cert_file and key_file below [relay.tls]", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if c.ClientCAFile != "" {
		pem, err := os.ReadFile(c.ClientCAFile)
		if err != nil {
			return fmt.Errorf("read client_ca_file below [relay.tls]: %w", err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if c.ClientRequired {
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return errors.New("client_ca_file below [relay.tls] has no certificate in it")
		}
	}
	c.current.Store(config)
	return nil
}

// Config is what a listener needs: each new connection gets what was loaded
// last, and those that are open are left alone.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
}

// Run loads the files again whenever they change, until ctx ends. Those that
// cannot be used are tried again until they can: not every change shows.
func (c *Certificates) Run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var last [3]os.FileInfo
	c.changed(&last)
	trouble := "" // why those that were found last are not in use
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !c.changed(&last) && trouble == "" {
			continue
		}
		switch err := c.Load(); {
		case err == nil:
			trouble = ""
			log.Info("the certificates are read again")
		case err.Error() != trouble:
			trouble = err.Error()
			log.Error("the certificates have changed and cannot be used; the old ones stay until they can", "error", err)
		}
	}
}

// changed reports whether any of the files is another than at the last call.
// One that is away just now is about to be replaced.
func (c *Certificates) changed(last *[3]os.FileInfo) bool {
	changed := false
	for i, path := range [...]string{c.CertFile, c.KeyFile, c.ClientCAFile} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		before := last[i]
		last[i] = info
		changed = changed || before == nil || !os.SameFile(before, info) || !before.ModTime().Equal(info.ModTime()) || before.Size() != info.Size()
	}
	return changed
}

// certifiedNodes are the nodes of a client's certificate: those of its URIs
// spiffe://…/node/NAME, else its DNS names, else its common name.
func certifiedNodes(state *tls.ConnectionState) []string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	leaf := state.VerifiedChains[0][0]
	var nodes []string
	for _, u := range leaf.URIs {
		if i := strings.LastIndex(u.Path, "/node/"); u.Scheme == "spiffe" && i >= 0 {
			nodes = append(nodes, u.Path[i+len("/node/"):])
		}
	}
	if len(nodes) == 0 {
		nodes = leaf.DNSNames
	}
	if len(nodes) == 0 {
		nodes = []string{leaf.Subject.CommonName}
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return node == "" || checkNode(node) != nil })
}

// machines are the grants of clients that their certificates name.
type machines struct {
	mu     sync.Mutex
	grants map[string]*Grant // by the nodes of a certificate
}

// machine is the grant of a client that its certificate names.
func (g *Guard) machine(nodes []string) *Grant {
	key := strings.Join(nodes, "\x00")
	g.machines.mu.Lock()
	defer g.machines.mu.Unlock()
	if grant := g.machines.grants[key]; grant != nil {
		return grant
	}
	if len(g.machines.grants) >= maxTokens || g.machines.grants == nil {
		g.machines.grants = map[string]*Grant{}
	}
	grant := &Grant{id: "certificate of " + strings.Join(nodes, ", "), role: Write, guard: g}
	if g.config.Limits != (Limits{}) {
		grant.spent = newBudget(g.config.Limits)
	}
	if g.config.NodeCheck != Ignore {
		grant.nodes = g.nodes(strings.Join(nodes, ", "), func(name string) bool { return slices.Contains(nodes, name) })
		if g.config.NodeCheck == Overwrite && g.config.Mode != Observe {
			grant.owner, grant.nodes.Tolerate = nodes[0], true
		}
	}
	g.machines.grants[key] = grant
	return grant
}
