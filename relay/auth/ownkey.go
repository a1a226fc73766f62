package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
)

// OwnKey makes sure of a key and a certificate in a directory, and returns their
// files. What is there stays: nodes have pinned the key.
func OwnKey(directory string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(directory, "certificate.pem"), filepath.Join(directory, "key.pem")
	if err := errors.Join(os.MkdirAll(filepath.Dir(directory), 0o750), os.MkdirAll(directory, 0o700)); err != nil {
		return "", "", fmt.Errorf("make the directory of the relay's own key: %w", err)
	}
	key, err := readKey(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Lstat(certFile); there == nil {
			return "", "", fmt.Errorf("the relay's own key %s is gone, and nodes may have pinned it: put it back from a copy, or remove %s to have a new one made, to which every node has to be joined again", keyFile, certFile)
		}
		key, err = makeKey(keyFile)
	}
	if err != nil {
		return "", "", fmt.Errorf("the relay's own key: %w", err)
	}
	if certifies(certFile, key) {
		return certFile, keyFile, nil
	}
	der, err := selfSigned(key)
	if err == nil {
		err = writePEM(certFile, "CERTIFICATE", der)
	}
	if err != nil {
		return "", "", fmt.Errorf("the certificate of the relay's own key: %w", err)
	}
	return certFile, keyFile, nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is damaged: put it back from a copy, or remove it and the certificate beside it to have a new one made, to which every node has to be joined again", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if own, ok := key.(*ecdsa.PrivateKey); ok {
		return own, nil
	}
	return nil, fmt.Errorf("%s is not a key that the relay has made; a certificate of yours belongs into cert_file and key_file below [relay.tls]", path)
}

func makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "PRIVATE KEY", der)
}

// certifies reports whether a file has a certificate of the key.
func certifies(path string, key *ecdsa.PrivateKey) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	return err == nil && key.PublicKey.Equal(certificate.PublicKey)
}

// selfSigned is a certificate that no clock finds too new or too old.
func selfSigned(key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: "vitals-relay"}, DNSNames: []string{"vitals-relay"},
		NotBefore: time.Unix(0, 0).UTC(), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	return x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
}

// writePEM writes a file that only its owner may read.
func writePEM(path, kind string, der []byte) error {
	return durable.Write(path, func(w io.Writer) error { return pem.Encode(w, &pem.Block{Type: kind, Bytes: der}) })
}
