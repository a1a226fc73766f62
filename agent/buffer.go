package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/output"
	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/rights"
)

const bufferListHelp = `Shows every buffer below buffer_directory: lines that wait, bytes on disk, age of the
oldest, lines that were refused for good. An orphan belongs to an output that the node
file no longer has; nobody sends what is in it until it is replayed.

  --json    the same, for programs
`

const bufferShowHelp = `Prints the lines of a buffer that wait on disk, oldest first. Lines in the memory of a
running agent are not shown, and what it has sent in the last seconds may be.

  --limit N     at most so many lines (100); 0: all of them
  --rejected    the lines that were refused for good instead, each behind the reason
`

const bufferReplayHelp = `Queues lines to be sent that nobody would send otherwise: those of BUFFER that were
refused for good, and all that wait in it if it is an orphan, which is removed then.

  --to OUTPUT    where they go; an orphan needs it, otherwise it is BUFFER itself
`

const bufferPurgeHelp = `Throws away the lines of one buffer, and says how many. An orphan is removed whole.

  --rejected    only those that were refused for good
`

// listing is what buffers there are.
type listing struct {
	Directory string          `json:"directory"`
	Buffers   []output.Buffer `json:"buffers"`
}

// bufferRequest is what a command asks of the running agent.
type bufferRequest struct {
	Name     string `json:"name"`
	To       string `json:"to,omitempty"`
	Rejected bool   `json:"rejected,omitempty"`
}

// keeper does what the commands ask: the running agent, or this process in its
// place.
type keeper interface {
	list(ctx context.Context) (listing, error)
	replay(ctx context.Context, r bufferRequest) (output.Requeued, error)
	purge(ctx context.Context, r bufferRequest) (output.Purged, error)
}

// keeperOf finds who has the buffers.
func keeperOf(f *flags) (keeper, error) {
	err := control.Reach("agent")
	if err == nil {
		return running{}, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	c, err := loadConfig(f)
	if err != nil {
		return nil, fmt.Errorf("no agent runs, and without the node file nobody knows where the buffers are: %w", err)
	}
	return apart{newStores(c)}, nil
}

// apart are the stores in a process of their own, where root does no more than
// their owner could, and leaves nothing that the agent could not use.
type apart struct{ *stores }

func (a apart) replay(ctx context.Context, r bufferRequest) (done output.Requeued, err error) {
	err = rights.AsOwner(a.directory, func() error {
		done, err = a.stores.replay(ctx, r)
		return err
	})
	return done, err
}

func (a apart) purge(ctx context.Context, r bufferRequest) (done output.Purged, err error) {
	err = rights.AsOwner(a.directory, func() error {
		done, err = a.stores.purge(ctx, r)
		return err
	})
	return done, err
}

// running is the agent that runs.
type running struct{}

func (running) list(ctx context.Context) (l listing, err error) {
	return l, control.Get(ctx, "agent", "/buffers", &l)
}

func (running) replay(ctx context.Context, r bufferRequest) (done output.Requeued, err error) {
	return done, control.Post(ctx, "agent", "/buffers/replay", r, &done)
}

func (running) purge(ctx context.Context, r bufferRequest) (done output.Purged, err error) {
	return done, control.Post(ctx, "agent", "/buffers/purge", r, &done)
}

func listBuffers(ctx context.Context, f *flags, stdout, _ io.Writer) error {
	k, err := keeperOf(f)
	if err != nil {
		return err
	}
	l, err := k.list(ctx)
	if err != nil {
		return err
	}
	if f.json {
		return writeJSON(stdout, l)
	}
	return l.print(stdout, time.Now())
}

func (l *listing) print(out io.Writer, now time.Time) error {
	w := shownWriter{out}
	fmt.Fprintf(w, "%s\n\n", l.Directory)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BUFFER\tOUTPUT\tWAITING\tBYTES\tOLDEST\tREJECTED")
	orphans := 0
	for _, b := range l.Buffers {
		of, waits := b.Name, fmt.Sprint(b.Lines)
		if b.Orphan {
			of = "none (orphan)"
			orphans++
		}
		if b.MemoryLines > 0 {
			waits = fmt.Sprintf("%d (%d in memory)", b.Lines+b.MemoryLines, b.MemoryLines)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%d\n", b.Name, of, waits, b.Bytes, ago(b.Oldest, now), b.Rejected)
	}
	if err := t.Flush(); err != nil || orphans == 0 {
		return err
	}
	_, err := io.WriteString(w, "\nNobody sends what is in an orphan: vitals-agent buffer replay NAME --to OUTPUT, or buffer purge NAME.\n")
	return err
}

func showBuffer(ctx context.Context, f *flags, stdout, _ io.Writer) error {
	limit, err := strconv.Atoi(or(f.limit, "100"))
	if err != nil || limit < 0 {
		return usageError{errors.New("--limit is a number of lines, or 0 for all of them")}
	}
	k, err := keeperOf(f)
	if err != nil {
		return err
	}
	l, err := k.list(ctx)
	if err != nil {
		return err
	}
	left := limit
	if f.rejected {
		text, err := output.ShowRejected(l.Directory, f.args[0])
		if err == nil {
			_, err = printLines(stdout, text, &left, limit)
		}
		return err
	}
	var failed error
	err = output.Show(l.Directory, f.args[0], func(lines []byte) (more bool) {
		more, failed = printLines(stdout, lines, &left, limit)
		return more && failed == nil
	})
	return errors.Join(err, failed)
}

// printLines prints what may still be printed; comments do not count.
func printLines(w io.Writer, text []byte, left *int, limit int) (more bool, err error) {
	for l := range bytes.Lines(text) {
		if limit > 0 && *left == 0 {
			return false, nil
		}
		if _, err := w.Write(l); err != nil {
			return false, err
		}
		if !bytes.HasPrefix(l, []byte("#")) {
			*left--
		}
	}
	return true, nil
}

func replayBuffer(ctx context.Context, f *flags, stdout, _ io.Writer) error {
	k, err := keeperOf(f)
	if err != nil {
		return err
	}
	done, err := k.replay(ctx, bufferRequest{Name: f.args[0], To: f.to})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %s queued to be sent by %s\n", f.args[0], count(int(done.Lines), "line"), or(f.to, f.args[0]))
	if done.Left > 0 {
		fmt.Fprintf(stdout, "left alone, not being line protocol: %s; see buffer show --rejected\n", count(int(done.Left), "line"))
	}
	return nil
}

func purgeBuffer(ctx context.Context, f *flags, stdout, _ io.Writer) error {
	k, err := keeperOf(f)
	if err != nil {
		return err
	}
	done, err := k.purge(ctx, bufferRequest{Name: f.args[0], Rejected: f.rejected})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: gone are %d lines that waited and %d that were refused\n", f.args[0], done.Waiting, done.Rejected)
	return err
}

// stores are the buffers while no agent runs.
type stores struct {
	directory string
	outputs   []config.Output
}

func newStores(c *config.Config) *stores {
	return &stores{directory: c.Agent.BufferDirectory, outputs: c.Outputs}
}

func (s *stores) names() (all []string) {
	for _, o := range s.outputs {
		all = append(all, o.ID)
	}
	return all
}

// configured returns the output of a name.
func (s *stores) configured(name string) (config.Output, bool) {
	i := slices.IndexFunc(s.outputs, func(o config.Output) bool { return o.ID == name })
	if i < 0 {
		return config.Output{}, false
	}
	return s.outputs[i], true
}

// target checks where lines shall go.
func (s *stores) target(r bufferRequest) (config.Output, error) {
	_, orphan := s.configured(r.Name)
	if to := or(r.To, r.Name); r.To != "" || orphan {
		o, ok := s.configured(to)
		if !ok || o.Name == "discard" {
			return o, fmt.Errorf("there is no output %q with a buffer; there are %s", to, strings.Join(s.names(), ", "))
		}
		return o, nil
	}
	return config.Output{}, fmt.Errorf("no output is called %q, so say with --to which one shall send its lines; there are %s", r.Name, strings.Join(s.names(), ", "))
}

func (s *stores) list(context.Context) (listing, error) {
	all, err := output.Buffers(s.directory, s.names())
	return listing{Directory: s.directory, Buffers: all}, err
}

func (s *stores) replay(ctx context.Context, r bufferRequest) (done output.Requeued, err error) {
	target, err := s.target(r)
	if err != nil {
		return done, err
	}
	from, err := output.OpenStore(s.directory, r.Name, target.BufferMaxBytes, false)
	if err != nil {
		return done, err
	}
	to := from
	if target.ID != r.Name {
		if to, err = output.OpenStore(s.directory, target.ID, target.BufferMaxBytes, true); err != nil {
			return done, errors.Join(err, from.Close())
		}
		defer func() { err = errors.Join(err, to.Close()) }()
	}
	_, configured := s.configured(r.Name)
	return s.move(ctx, from, to, !configured)
}

// move moves the lines of a buffer, and removes it if it is an orphan.
func (s *stores) move(ctx context.Context, from *output.Store, to output.Requeuer, orphan bool) (done output.Requeued, err error) {
	if orphan {
		if done, err = from.MoveWaiting(ctx, to); err != nil {
			return done, errors.Join(err, from.Close())
		}
	}
	more, err := from.MoveRejected(ctx, to)
	done.Lines, done.Left = done.Lines+more.Lines, more.Left
	if err == nil && orphan && done.Left == 0 {
		return done, from.Remove()
	}
	return done, errors.Join(err, from.Close())
}

func (s *stores) purge(_ context.Context, r bufferRequest) (done output.Purged, err error) {
	o, configured := s.configured(r.Name)
	from, err := output.OpenStore(s.directory, r.Name, o.BufferMaxBytes, false)
	if err != nil {
		return done, err
	}
	done, err = from.Purge(r.Rejected)
	if err == nil && !configured && !r.Rejected {
		return done, from.Remove()
	}
	return done, errors.Join(err, from.Close())
}
