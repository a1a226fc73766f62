package fleet

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/rpicluster/vitals/internal/durable"
)

// saveEvery is how often the view is saved while the relay runs: what comes
// in later is read back from what is kept.
const saveEvery = 15 * time.Minute

// snapshotVersion is the first thing in a snapshot; another one is not read.
const snapshotVersion = 1

// The snapshot is gzip: a head, then a record on each line, as JSON.
type (
	savedHead struct {
		Version int       `json:"version"`
		Saved   time.Time `json:"saved"`
		Events  []Event   `json:"events,omitempty"`
	}
	savedRecord struct {
		Name     string                 `json:"name"` // raw
		First    time.Time              `json:"first"`
		Seen     time.Time              `json:"seen"`
		Address  string                 `json:"address,omitempty"`
		Client   string                 `json:"client,omitempty"`
		Token    string                 `json:"token,omitempty"`
		Gaps     []time.Duration        `json:"gaps,omitempty"`
		Lines    int64                  `json:"lines"`
		UptimeAt time.Time              `json:"uptime_at,omitzero"`
		Figures  [vitals]*float64       `json:"figures"`
		Facts    map[string]any         `json:"facts,omitempty"`
		Tags     map[string]string      `json:"tags,omitempty"`
		History  [chiefs][]savedHistory `json:"history"`
	}
	savedHistory struct {
		First int64  `json:"first"`
		Codes []byte `json:"codes"` // little-endian
	}
)

func (v *View) snapshot() string { return filepath.Join(v.config.Directory, "fleet.json.gz") }

// save writes the snapshot.
func (v *View) save() {
	if v.config.Directory == "" {
		return
	}
	if err := durable.Write(v.snapshot(), v.writeTo); err != nil {
		v.config.Logger.Warn("the nodes and their history cannot be saved", "error", err)
	}
}

// writeTo writes one record at a time, so that nobody waits for the disk.
func (v *View) writeTo(w io.Writer) error {
	buffered := bufio.NewWriter(w)
	zipped := gzip.NewWriter(buffered)
	out := json.NewEncoder(zipped)
	v.mu.Lock()
	head := savedHead{Version: snapshotVersion, Saved: v.config.Now().Round(0), Events: slices.Clone(v.events.list)}
	names := slices.Sorted(maps.Keys(v.records))
	v.mu.Unlock()
	if err := out.Encode(head); err != nil {
		return err
	}
	for _, name := range names {
		v.mu.Lock()
		r := v.records[name]
		var saved savedRecord
		if r != nil {
			saved = r.saved(name)
		}
		v.mu.Unlock()
		if r == nil {
			continue
		}
		if err := out.Encode(saved); err != nil {
			return err
		}
	}
	return errors.Join(zipped.Close(), buffered.Flush())
}

func (r *record) saved(name string) savedRecord {
	s := savedRecord{
		Name: name, First: r.first.Round(0), Seen: r.seen.Round(0), Address: r.address, Client: r.client, Token: r.token,
		Gaps: r.rhythm.last(), Lines: r.lines, UptimeAt: r.uptimeAt.Round(0), Facts: r.facts, Tags: r.tags,
	}
	for i := range s.Figures {
		s.Figures[i] = r.figure(vital(i)).pointer()
	}
	for c := range r.history {
		for _, b := range r.history[c].blocks {
			codes, _ := binary.Append(nil, binary.LittleEndian, b.codes[:])
			s.History[c] = append(s.History[c], savedHistory{b.first, codes})
		}
	}
	return s
}

// load reads the snapshot, if there is one.
func (v *View) load() error {
	if v.config.Directory == "" {
		return nil
	}
	f, err := os.Open(v.snapshot())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := v.readFrom(bufio.NewReader(f)); err != nil {
		return errors.Join(fmt.Errorf("read %s: %w", v.snapshot(), err), os.Rename(v.snapshot(), v.snapshot()+".damaged"))
	}
	return nil
}

// What is read of a snapshot, inflated: of a line, facts and tags as large as the
// door lets them be and a month of history; of all, the histories there can be, and
// so much for each node besides.
const (
	maxSaved       = 8 << 20
	maxSavedBeside = 32 << 10
)

// readFrom takes over what could be read before an error. Whatever the file says,
// one line at a time is in memory, and no more nodes are read than there can be.
func (v *View) readFrom(r io.Reader) error {
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(io.LimitReader(zipped, 2*v.config.HistoryBytes+int64(v.config.MaxNodes+maxMarks)*maxSavedBeside))
	lines.Buffer(nil, maxSaved)
	var head savedHead
	if err := scanJSON(lines, &head); err != nil {
		return err
	}
	if head.Version != snapshotVersion {
		return fmt.Errorf("it is of version %d, not %d", head.Version, snapshotVersion)
	}
	v.events.list = head.Events
	if n := len(head.Events); n > 0 {
		v.events.last = head.Events[n-1].ID
	}
	for range v.config.MaxNodes + maxMarks {
		var s savedRecord
		err := scanJSON(lines, &s)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if len(v.records) < v.config.MaxNodes && !v.forgotten.covers(s.Name, v.before(s.Seen)) {
			v.records[s.Name] = v.revive(s)
		}
	}
	v.restored = v.before(head.Saved) // complete, so what came before is known
	return nil
}

// scanJSON reads a line; io.EOF: there is none.
func scanJSON(lines *bufio.Scanner, to any) error {
	if !lines.Scan() {
		return cmp.Or(lines.Err(), io.EOF)
	}
	in := json.NewDecoder(bytes.NewReader(lines.Bytes()))
	in.UseNumber()
	return in.Decode(to)
}

func (v *View) revive(s savedRecord) *record {
	r := &record{
		first: v.before(s.First), seen: v.before(s.Seen), address: s.Address, client: s.Client, token: s.Token,
		lines: s.Lines, uptimeAt: v.before(s.UptimeAt), tags: s.Tags, retired: v.retired.covers(s.Name, v.before(s.Seen)),
	}
	for _, gap := range s.Gaps {
		r.rhythm.note(gap, v.limits)
	}
	for i, f := range s.Figures {
		if f != nil {
			r.figures[i], r.known[i], r.heard[i] = *f, true, r.seen
		}
	}
	if s.Facts != nil {
		r.facts = map[string]any{}
	}
	for key, value := range s.Facts {
		r.facts[key] = fromJSON(value)
	}
	for c := range s.History {
		for _, h := range s.History[c] {
			v.reviveBlock(&r.history[c], h)
		}
	}
	r.resume()
	return r
}

func (v *View) reviveBlock(s *series, h savedHistory) {
	late := len(s.blocks) > 0 && h.First <= s.blocks[len(s.blocks)-1].first
	early := h.First > stepOf(v.started)
	if len(h.Codes) != 2*blockSteps || h.First%blockSteps != 0 || late || early || v.shelf.blocks >= v.shelf.max {
		return
	}
	b := &block{first: h.First}
	_ = binary.Read(bytes.NewReader(h.Codes), binary.LittleEndian, b.codes[:]) // as long as codes are
	s.blocks = append(s.blocks, b)
	v.shelf.blocks++
}

// fromJSON turns a number into an integer, as most facts are, or a float.
func fromJSON(value any) any {
	n, ok := value.(json.Number)
	if !ok {
		return value
	}
	if i, err := n.Int64(); err == nil {
		return i
	}
	f, _ := n.Float64()
	return f
}
