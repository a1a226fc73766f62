// Package pin ties a client to a server by the server's public key, whose
// SHA-256 is written as curl writes it: sha256//BASE64.
package pin

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const prefix = "sha256//"

// Pins are the keys that a server may have. Several are of use while the server
// gets a new key.
type Pins [][sha256.Size]byte

// Of is the pin of a certificate's key.
func Of(certificate *x509.Certificate) string {
	return write(sha256.Sum256(certificate.RawSubjectPublicKeyInfo))
}

func write(sum [sha256.Size]byte) string {
	return prefix + base64.StdEncoding.EncodeToString(sum[:])
}

// Parse reads pins, with semicolons between them.
func Parse(text string) (Pins, error) {
	var all Pins
	for one := range strings.SplitSeq(text, ";") {
		one = strings.TrimSpace(one)
		encoded, ok := strings.CutPrefix(one, prefix)
		sum, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("%.80q is not the pin of a key; it is written sha256// and 44 characters, as vitals-relay status shows it", one)
		}
		all = append(all, [sha256.Size]byte(sum))
	}
	return all, nil
}

// String writes the pins as Parse reads them.
func (p Pins) String() string {
	all := make([]string, len(p))
	for i, sum := range p {
		all[i] = write(sum)
	}
	return strings.Join(all, ";")
}

// Require has a client's configuration look at the server's key and at nothing
// else: not at names, dates or authorities. Connections that are resumed are
// looked at, too.
func (p Pins) Require(c *tls.Config) {
	c.InsecureSkipVerify = true //nolint:gosec // VerifyConnection takes its place
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the server has shown no certificate, so that its key is not known")
		}
		got := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
		known := 0
		for _, sum := range p {
			known |= subtle.ConstantTimeCompare(got[:], sum[:])
		}
		if known != 1 {
			return &MismatchError{Got: write(got), Want: p.String()}
		}
		return nil
	}
}

// MismatchError is a server with another key than the pinned one.
type MismatchError struct{ Got, Want string }

// Error implements error.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("the server's key is %s, and the one that is pinned is %s: another machine answers at this address, or the server has a new key; "+
		"if it has (vitals-relay status there shows it), pin the new one", e.Got, e.Want)
}
