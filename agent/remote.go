package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
)

const (
	// remoteTimeout bounds one request, and maxRemote what it may answer.
	remoteTimeout = 30 * time.Second
	maxRemote     = 10 << 20
	// remoteRetry is the time between two attempts at start.
	remoteRetry = 10 * time.Second
)

// remote fetches node files by their URL. The last one that was sound is kept
// on disk, for the day when its server cannot be reached.
type remote struct {
	directory string
	attempts  int // further ones, at start; -1: without end
	retry     time.Duration

	ctx context.Context // of the program

	mu      sync.Mutex
	started bool              // a configuration has been loaded
	fetched map[string]answer // by URL; not known to be sound yet
	last    map[string]string // what was read last, sound or not
}

type answer struct{ etag, body string }

// fetch returns the file at from. The warning, if any, says that it is the copy.
func (r *remote) fetch(from string) (body []byte, warning string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, haveKept := r.kept(from)
	for tries := 0; ; tries++ {
		got, err := r.get(from, kept)
		if err == nil {
			r.fetched[from], r.last[from] = got, got.body
			return []byte(got.body), "", nil
		}
		if haveKept {
			r.last[from] = kept.body
			return []byte(kept.body), fmt.Sprintf("%v; the copy of it that was last in effect is used", err), nil
		}
		if r.started || r.attempts >= 0 && tries >= r.attempts {
			return nil, "", err
		}
		select {
		case <-time.After(r.retry):
		case <-r.ctx.Done():
			return nil, "", err
		}
	}
}

func (r *remote) get(from string, kept answer) (answer, error) {
	ctx, cancel := context.WithTimeout(r.ctx, remoteTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return answer{}, fmt.Errorf("read node file: %w", err)
	}
	req.Header.Set("Accept", "application/toml")
	req.Header.Set("User-Agent", "vitals-agent/"+version+" "+runtime.Version())
	if token := os.Getenv("TELEGRAF_CONTROLLER_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	} else if token := os.Getenv("INFLUX_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Token "+token)
	}
	if kept.etag != "" {
		req.Header.Set("If-None-Match", kept.etag)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("read node file: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotModified:
		return kept, nil
	case http.StatusOK:
	default:
		return answer{}, fmt.Errorf("read node file: %s answers %s", req.URL.Redacted(), resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRemote+1))
	if err == nil && len(body) > maxRemote {
		err = errors.New("it is longer than 10 MiB")
	}
	if err != nil {
		return answer{}, fmt.Errorf("read node file %s: %w", req.URL.Redacted(), err)
	}
	return answer{resp.Header.Get("ETag"), string(body)}, nil
}

// path is where the copy of the file at from is: its ETag in the first line.
func (r *remote) path(from string) string {
	return filepath.Join(r.directory, fmt.Sprintf("%x.conf", sha256.Sum256([]byte(from))))
}

func (r *remote) kept(from string) (a answer, ok bool) {
	text, err := os.ReadFile(r.path(from))
	if err != nil {
		return a, false
	}
	a.etag, a.body, ok = strings.Cut(string(text), "\n")
	return a, ok
}

// accept keeps what was fetched: it is sound.
func (r *remote) accept() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	for from, a := range r.fetched {
		delete(r.fetched, from)
		if was, ok := r.kept(from); ok && was == a {
			continue
		}
		if err := replaceFile(r.path(from), a.etag+"\n"+a.body); err != nil {
			return fmt.Errorf("keep a copy of the node file: %w", err)
		}
	}
	return nil
}

// replaceFile writes a file that is whole at any time.
func replaceFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// changed reports whether one of the files differs from what was read last. One
// that cannot be had now does not.
func (r *remote) changed(urls []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, from := range urls {
		kept, _ := r.kept(from)
		if got, err := r.get(from, kept); err == nil && got.body != r.last[from] {
			return true
		}
	}
	return false
}

// passwords are those in URLs.
func passwords(urls []string) []string {
	var all []string
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				all = append(all, password)
			}
		}
	}
	return all
}

// acceptRemote keeps copies of the files that are in effect now.
func (a *agent) acceptRemote() {
	if err := a.flags.fetcher().accept(); err != nil {
		a.log.Warn("the agent could not start from a URL whose server is away", "error", err)
	}
}
