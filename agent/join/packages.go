package join

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxPackage = 256 << 20
	// downloadTime bounds a download, and silence how long nothing may come.
	downloadTime = 30 * time.Minute
	silence      = time.Minute
)

// Package is one that a relay hands out.
type Package struct {
	Name    string `json:"name"`
	Program string `json:"program"`
	Arch    string `json:"arch"`
	Kind    string `json:"kind"`
	Version string `json:"version"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
}

var (
	soundName    = regexp.MustCompile(`^vitals-agent_[0-9A-Za-z.+~-]{1,100}_[a-z0-9]{1,20}\.(deb|rpm|tar\.gz)$`)
	soundVersion = regexp.MustCompile(`^[0-9A-Za-z.+~-]{1,100}$`)
	soundSum     = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Newest is the newest package of the agent that a machine of this kind can
// install.
func (r *Relay) Newest(ctx context.Context, arch, kind string) (Package, error) {
	var index struct {
		Packages []Package `json:"packages"`
	}
	if err := r.ask(ctx, http.MethodGet, "/packages/", "", nil, &index); err != nil {
		return Package{}, err
	}
	var best Package
	var there []string
	for _, p := range index.Packages {
		if p.Program != "vitals-agent" {
			continue
		}
		there = append(there, p.Name)
		if p.Arch != arch || p.Kind != kind || !soundName.MatchString(p.Name) || !soundVersion.MatchString(p.Version) {
			continue
		}
		if after, _ := newer(best.Version, p.Version); best.Name == "" || after {
			best = p
		}
	}
	switch {
	case best.Name == "":
		slices.Sort(there)
		return best, fmt.Errorf("%s has no .%s of vitals-agent for %s; it has %s. Install the package vitals-packages there", r, kind, arch, or(strings.Join(there, ", "), "none"))
	case best.Bytes <= 0 || best.Bytes > maxPackage || !soundSum.MatchString(best.SHA256):
		return best, fmt.Errorf("%s names no sound size or checksum of %s", r, best.Name)
	}
	return best, nil
}

// Fetch brings a package to a directory, checked, and returns its path. What an
// earlier call has brought of it is not brought again.
func (r *Relay) Fetch(ctx context.Context, p Package, directory string) (string, error) {
	path := filepath.Join(directory, p.Name)
	part := path + ".part"
	if err := removeOthers(directory, p.Name); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, downloadTime)
	defer cancel()
	out, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	sum, have, err := summed(out)
	if err == nil && have < p.Bytes {
		err = r.continueAt(ctx, p, out, sum, have)
	}
	if err == nil {
		err = out.Sync()
	}
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", p.Name, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.SHA256 {
		_ = os.Remove(part)
		return "", fmt.Errorf("%s has arrived damaged: its SHA-256 is %s and should be %s. Nothing was installed; try again, and if it is so again, put the package on the relay anew", p.Name, got, p.SHA256)
	}
	return path, os.Rename(part, path)
}

// removeOthers removes what earlier downloads of other packages have left.
func removeOthers(directory, name string) error {
	old, err := filepath.Glob(filepath.Join(directory, "vitals-agent_*"))
	for _, path := range old {
		if base := filepath.Base(path); base != name+".part" {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// summed is the checksum of what a file holds, up to which it is read.
func summed(f *os.File) (hash.Hash, int64, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	return sum, n, err
}

// continueAt appends what is missing to a file that has so many bytes.
func (r *Relay) continueAt(ctx context.Context, p Package, out *os.File, sum hash.Hash, have int64) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	quiet := time.AfterFunc(silence, func() { stop(fmt.Errorf("nothing came for %s", silence)) })
	defer quiet.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base.String()+"/packages/"+url.PathEscape(p.Name), nil)
	if err != nil {
		return err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return r.unreachable(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent && have > 0 && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)):
	case resp.StatusCode == http.StatusOK: // from the beginning
		sum.Reset()
		have = 0
		if err := out.Truncate(0); err != nil {
			return err
		}
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the relay answers %s; try again", resp.Status)
	}
	n, err := io.Copy(io.MultiWriter(out, sum), &watched{io.LimitReader(resp.Body, p.Bytes-have+1), quiet})
	switch {
	case have+n > p.Bytes:
		_ = out.Truncate(0)
		return fmt.Errorf("it is longer than the %d bytes that the relay names", p.Bytes)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w; the next try goes on from there", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("%w after %d of %d bytes; the next try goes on from there", err, have+n, p.Bytes)
	case have+n < p.Bytes:
		return fmt.Errorf("it ended after %d of %d bytes; the next try goes on from there", have+n, p.Bytes)
	}
	return nil
}

// watched is read from as long as something comes.
type watched struct {
	io.Reader
	quiet *time.Timer
}

// Read implements io.Reader.
func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.quiet.Reset(silence)
	}
	return n, err
}
