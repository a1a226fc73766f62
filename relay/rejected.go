package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/deliver"
)

// rejectedFile is a file of lines that a destination has refused.
type rejectedFile struct {
	Destination string `json:"destination"`
	deliver.RejectedFile
}

// rejectedPart is lines that a destination has refused for one reason.
type rejectedPart struct {
	Destination     string `json:"destination"`
	ID              string `json:"id"`
	At              string `json:"at"`
	Database        string `json:"database"`
	RetentionPolicy string `json:"retention_policy"`
	Precision       string `json:"precision"`
	Reason          string `json:"reason"`
	Lines           string `json:"lines"`
}

// rejectedDone is what was done with files of refused lines.
type rejectedDone struct {
	Files int `json:"files"`
	deliver.Retried
	Dropped int `json:"dropped_lines"`
	// Error is why some could not be tried.
	Error string `json:"error,omitempty"`
}

// rejectedOf are the refused lines of a destination, or of all that have some,
// configured or not.
func (r *relay) rejectedOf(name string) (map[string]*deliver.Rejected, error) {
	found := map[string]*deliver.Rejected{}
	for _, d := range r.all() {
		found[d.name] = d.rejected
	}
	entries, err := os.ReadDir(r.rejectedDirectory(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if found[e.Name()] == nil && e.IsDir() {
			found[e.Name()] = deliver.NewRejected(filepath.Join(r.rejectedDirectory(""), e.Name()), time.Now)
		}
	}
	if name == "" {
		return found, nil
	}
	if found[name] == nil {
		return nil, fmt.Errorf("no destination %q has refused anything", name)
	}
	return map[string]*deliver.Rejected{name: found[name]}, nil
}

// listRejected lists the files of refused lines, of one destination or of all.
func (r *relay) listRejected(name string) ([]rejectedFile, error) {
	found, err := r.rejectedOf(name)
	if err != nil {
		return nil, err
	}
	list := []rejectedFile{}
	for name, rejected := range found {
		files, err := rejected.List()
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			list = append(list, rejectedFile{name, f})
		}
	}
	slices.SortFunc(list, func(a, b rejectedFile) int { return a.Since.Compare(b.Since) })
	return list, nil
}

// eachRejected calls fn with the files of refused lines of a destination, or
// with one of them.
func (r *relay) eachRejected(name, id string, fn func(rejected *deliver.Rejected, f rejectedFile) error) error {
	if name == "" {
		return errors.New("which destination? vitals-relay rejected list shows them")
	}
	list, err := r.listRejected(name)
	if err != nil {
		return err
	}
	found, err := r.rejectedOf(name)
	if err != nil {
		return err
	}
	some := false
	for _, f := range list {
		if id != "" && f.ID != id {
			continue
		}
		some = true
		if err := fn(found[name], f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !some && id != "" {
		return fmt.Errorf("%s has refused nothing that is called %q", name, id)
	}
	return nil
}

// showRejected returns the refused lines of a destination, or of one file.
func (r *relay) showRejected(name, id string) ([]rejectedPart, error) {
	parts := []rejectedPart{}
	err := r.eachRejected(name, id, func(rejected *deliver.Rejected, f rejectedFile) error {
		all, err := rejected.Read(f.ID)
		for _, l := range all {
			parts = append(parts, rejectedPart{name, f.ID, l.At, l.Target.Database, l.Target.RetentionPolicy, l.Target.Precision, l.Reason, string(l.Lines)})
		}
		return err
	})
	return parts, err
}

// dropRejected gives refused lines up.
func (r *relay) dropRejected(name, id string) (done rejectedDone, err error) {
	err = r.eachRejected(name, id, func(rejected *deliver.Rejected, f rejectedFile) error {
		err := rejected.Drop(f.ID)
		if err == nil {
			done.Files++
			done.Dropped += f.Lines
		}
		return err
	})
	r.log.Warn("refused lines were given up", "destination", name, "lines", done.Dropped)
	return done, err
}

// retryRejected sends refused lines again.
func (r *relay) retryRejected(ctx context.Context, name, id string) (done rejectedDone, err error) {
	d := named(r.all(), name)
	if d == nil {
		return done, fmt.Errorf("the destination %q is not configured, so nothing can be sent to it", name)
	}
	err = r.eachRejected(name, id, func(rejected *deliver.Rejected, f rejectedFile) error {
		one, err := rejected.Retry(ctx, f.ID, r.resend(d))
		done.Files++
		done.Stored += one.Stored
		done.Refused += one.Refused
		done.Left += one.Left
		if done.Left > 0 && err != nil { // what the server said; the next may fare better
			done.Error, err = err.Error(), nil
		}
		return err
	})
	r.log.Info("refused lines were sent again", "destination", name, "stored", done.Stored, "refused", done.Refused, "left", done.Left)
	return done, err
}

// resend makes one attempt at lines with the policy of a destination.
func (r *relay) resend(d *destination) func(context.Context, influx.Target, []byte) ([]deliver.RejectedLines, error) {
	return func(ctx context.Context, t influx.Target, lines []byte) (refused []deliver.RejectedLines, err error) {
		sender := r.newSender(d, func(int) {})
		sender.Rejected = func(t influx.Target, lines []byte, reason string) error {
			refused = append(refused, deliver.RejectedLines{Target: t, Reason: reason, Lines: lines})
			return nil
		}
		err = sender.Deliver(ctx, t, influx.Batch{Body: influx.Gzip(nil, lines), Lines: countLines(lines)})
		return refused, err
	}
}
