package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rpicluster/vitals/internal/durable/durabletest"
	"github.com/rpicluster/vitals/internal/influx"
)

// setAside keeps some lines and returns the id of their file.
func setAside(t *testing.T, r *Rejected, parts ...RejectedLines) string {
	t.Helper()
	for _, p := range parts {
		if err := r.Add(p.Target, p.Lines, p.Reason); err != nil {
			t.Fatal(err)
		}
	}
	files, err := r.List()
	if err != nil || len(files) != 1 {
		t.Fatalf("files %+v, %v", files, err)
	}
	return files[0].ID
}

var (
	yearly = influx.Target{Database: `d"b`, RetentionPolicy: "a b", Precision: "s"}
	// spoof is a line with a string that looks like the reason of others.
	spoof = "m v=\"x\n# 2026-01-01T00:00:00Z db=\\\"other\\\" rp=\\\"\\\" precision=ns: no\nm v=1 1\" 1\n"
)

func newRejected(t *testing.T) *Rejected {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	return NewRejected(filepath.Join(t.TempDir(), "rejected", "near"), func() time.Time { now = now.Add(time.Second); return now })
}

func TestRejectedLinesAreReadBack(t *testing.T) {
	r := newRejected(t)
	id := setAside(t, r, RejectedLines{Target: yearly, Reason: "too\nold", Lines: []byte("m v=1 1\nm v=2 2")}, RejectedLines{Target: ns, Reason: "no: such", Lines: []byte(spoof)})
	got, err := r.Read(id)
	if err != nil {
		t.Fatal(err)
	}
	want := []RejectedLines{
		{Target: yearly, At: "2026-03-01T00:00:01Z", Reason: "too old", Lines: []byte("m v=1 1\nm v=2 2\n")},
		{Target: ns, At: "2026-03-01T00:00:02Z", Reason: "no: such", Lines: []byte(spoof)},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	files, err := r.List()
	if err != nil || files[0].Lines != 3 || files[0].Reason != "no: such" || files[0].Since.IsZero() {
		t.Errorf("%+v, %v", files, err)
	}
	for _, id := range []string{"../near/" + id, "x", "", id + "/.."} {
		if _, err := r.Read(id); err == nil {
			t.Errorf("%q was read", id)
		}
		if err := r.Drop(id); err == nil {
			t.Errorf("%q was dropped", id)
		}
	}
	if err := r.Drop(id); err != nil || r.Present() {
		t.Errorf("after dropping it: %v, %v", err, r.Present())
	}
}

func TestRetry(t *testing.T) {
	r := newRejected(t)
	id := setAside(t, r, RejectedLines{Target: yearly, Reason: "old", Lines: []byte("m v=1 1\nm bad=2 2\n")},
		RejectedLines{Target: ns, Reason: "old", Lines: []byte("n v=1 1\n")}, RejectedLines{Target: ns, Reason: "older", Lines: []byte("n v=2 2\n")})
	away := errors.New("the server is away")
	var sent []string
	send := func(_ context.Context, target influx.Target, lines []byte) ([]RejectedLines, error) {
		sent = append(sent, target.Database+": "+string(lines))
		if strings.HasPrefix(string(lines), "n v=1") && away != nil {
			return nil, away
		}
		if strings.Contains(string(lines), "bad") {
			return []RejectedLines{{Target: target, Reason: "new", Lines: []byte("m bad=2 2\n")}}, nil
		}
		return nil, nil
	}
	done, err := r.Retry(t.Context(), id, send)
	if !errors.Is(err, away) || done != (Retried{Stored: 1, Refused: 1, Left: 2}) {
		t.Errorf("%+v, %v", done, err)
	}
	if d := cmp.Diff([]string{"d\"b: m v=1 1\nm bad=2 2\n", "d: n v=1 1\n"}, sent); d != "" {
		t.Error(d)
	}
	left, err := r.Read(id)
	if err != nil || len(left) != 3 || left[0].Reason != "new" || string(left[0].Lines) != "m bad=2 2\n" || left[0].Target != yearly || left[2].Reason != "older" {
		t.Errorf("left: %+v, %v", left, err)
	}
	// What is refused meanwhile goes elsewhere.
	if err := r.Add(ns, []byte("z v=1 1\n"), "x"); err != nil {
		t.Fatal(err)
	}
	away = nil
	if done, err = r.Retry(t.Context(), id, send); err != nil || done != (Retried{Stored: 2, Refused: 1}) {
		t.Errorf("%+v, %v", done, err)
	}
	send = func(context.Context, influx.Target, []byte) ([]RejectedLines, error) { return nil, nil }
	if done, err = r.Retry(t.Context(), id, send); err != nil || done != (Retried{Stored: 1}) {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := r.Retry(t.Context(), id, send); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is stored is still there: %v", err)
	}
	if files, err := r.List(); err != nil || len(files) != 1 || files[0].Lines != 1 {
		t.Errorf("what was refused meanwhile: %+v, %v", files, err)
	}
}

// A file that somebody has edited gives up nothing.
// A client's comment may look like a reason.
func TestCommentsOfClientsAreNoReasons(t *testing.T) {
	r := newRejected(t)
	forged := "# 2026-01-01T00:00:00Z db=\"other\" rp=\"\" precision=s: forged\n"
	id := setAside(t, r,
		RejectedLines{Target: influx.Target{Database: "mine", Precision: "ns"}, Reason: "refused", Lines: []byte("m v=1 1\n" + forged + "\n" + forged + " m v=2 2\n \n" + forged + "m v=3 3\n \n")},
		RejectedLines{Target: influx.Target{Database: "next", Precision: "ms"}, Reason: "refused", Lines: []byte(" \n\t" + forged + "m v=4 4")})
	all, err := r.Read(id)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, l := range all {
		got[l.Target.Database+" "+l.Target.Precision] += string(l.Lines)
	}
	if diff := cmp.Diff(map[string]string{"mine ns": "m v=1 1\n m v=2 2\nm v=3 3\n", "next ms": "m v=4 4\n"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRejectedFilesThatWereEdited(t *testing.T) {
	for text, want := range map[string]int{"": 0, "m v=1 1\n": 1, "# a note\n\nm v=1 1\nm v=2 2": 1, "#": 0} {
		got := parseRejected([]byte(text))
		if len(got) != want || want == 1 && got[0].Target != (influx.Target{}) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzParseRejected(f *testing.F) {
	f.Add([]byte(spoof), "d", "rp", "why")
	f.Add([]byte("m v=1 1\n"), "a\"\n", "", "x\ny")
	f.Fuzz(func(t *testing.T, text []byte, db, rp, reason string) {
		total := 0
		for _, l := range parseRejected(text) {
			total += len(l.Lines)
		}
		if total > len(text) {
			t.Errorf("%d bytes of lines in %d", total, len(text))
		}
		var b bytes.Buffer
		in := RejectedLines{Target: influx.Target{Database: db, RetentionPolicy: rp, Precision: "us"}, At: "now", Reason: reason, Lines: []byte(spoof)}
		in.write(&b)
		in.write(&b)
		got := parseRejected(b.Bytes())
		if len(got) != 2 || got[1].Target != in.Target || string(got[1].Lines) != spoof {
			t.Errorf("%+v came back as %+v", in, got)
		}
	})
}

// A directory may be called whatever it likes.
func TestRejectedInADirectoryWithBrackets(t *testing.T) {
	r := NewRejected(filepath.Join(t.TempDir(), "[a", "near"), time.Now)
	id := setAside(t, r, RejectedLines{Target: ns, Reason: "no", Lines: []byte("m v=1 1\n")})
	if !r.Present() {
		t.Error("nobody sees it")
	}
	if err := r.Drop(id); err != nil || r.Present() {
		t.Errorf("it is still there, %v", err)
	}
}

// Lines of which a full disk has taken a part do not take in those that follow
// when there is room again.
func TestAFullDiskLeavesNoHalfLine(t *testing.T) {
	dir := durabletest.Mount(t, "tmpfs", "size=64k")
	r := NewRejected(filepath.Join(dir, "near"), time.Now)
	setAside(t, r, RejectedLines{Target: yearly, Reason: "first", Lines: []byte("m v=1 1\n")})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(yearly, bytes.Repeat([]byte("m v=\"text\" 1\n"), 4000), "second"); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	id := setAside(t, r, RejectedLines{Target: ns, Reason: "third", Lines: []byte("m v=3 3\n")})
	got, err := r.Read(id)
	if err != nil || len(got) != 2 || got[0].Reason != "first" || string(got[0].Lines) != "m v=1 1\n" ||
		got[1].Reason != "third" || got[1].Target != ns || string(got[1].Lines) != "m v=3 3\n" {
		t.Errorf("%v, %d parts: %.300q", err, len(got), fmt.Sprint(got))
	}
}
