package deliver

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Writers of several databases who take turns cost a write each, in which the
// order is theirs.
func TestTurnsOfDatabasesAreJoined(t *testing.T) {
	f := newFixture(t)
	want := map[string][]string{}
	for i := range 300 {
		text := fmt.Sprintf("m v=%d 1", i)
		f.append(target(i%3), text)
		key := fmt.Sprintf("d%d", i%3)
		want[key] = append(want[key], text)
	}
	s := newServer(t, all)
	d := f.start("near", s, nil)
	empty(t, d)
	got := map[string][]string{}
	for _, l := range s.have() {
		key, text, _ := strings.Cut(l, "//: ")
		got[key] = append(got[key], text)
	}
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("got %v", got)
	}
	if s.writes != 3 || d.Status().Lines != 300 {
		t.Errorf("%d writes for three databases, %+v", s.writes, d.Status())
	}
}

// What is delivered ahead of what was written before it is not passed: it comes
// again, in order, after a crash.
func TestWhatIsDeliveredAheadIsNotPassed(t *testing.T) {
	f := newFixture(t)
	for i := range 6 {
		f.append(target(i%2), fmt.Sprintf("m v=%d 1", i))
	}
	s := newServer(t, func(_ int, key string, _ []string) (int, string, func(string) bool) {
		if key == "d1//" {
			return 503, "not now", nil
		}
		return 204, "", nil
	})
	d := f.start("near", s, nil)
	stored(t, s, "d0//: m v=0 1", "d0//: m v=2 1", "d0//: m v=4 1")
	eventually(t, "the other fails", func() bool { return d.Status().Failures > 0 })
	if got := d.Status().Backlog.Batches; got != 5 {
		t.Errorf("%d batches wait, want the five that follow the first", got)
	}
	f.close() // the destination takes nothing that would close the gap
	f.open()
	s.set(all)
	d = f.start("near", s, nil)
	empty(t, d)
	stored(t, s, "d0//: m v=0 1", "d0//: m v=2 1", "d0//: m v=4 1",
		"d1//: m v=1 1", "d1//: m v=3 1", "d1//: m v=5 1", "d0//: m v=2 1", "d0//: m v=4 1")
}

// An orderly end writes what would make something come again, and no more.
func TestTheEndClosesGaps(t *testing.T) {
	f := newFixture(t)
	f.patient = true
	for _, n := range []int{0, 1, 0, 2} {
		f.append(target(n), fmt.Sprintf("m of=%d 1", n))
	}
	s := newSlow(t)
	f.start("slow", &server{Server: s.Server}, nil)
	const both = "m of=0 1\nm of=0 1"
	eventually(t, "a write is under way", func() bool { return slices.Equal(s.pending(), []string{both}) })
	f.end()
	s.answer(t, both, 204)
	s.answer(t, "m of=1 1", 204)
	f.close()
	f.open()
	d := f.start("slow", &server{Server: s.Server}, nil)
	s.answer(t, "m of=2 1", 204)
	empty(t, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{both, "m of=1 1", "m of=2 1"}; !slices.Equal(s.stored, want) {
		t.Errorf("stored %q, want %q", s.stored, want)
	}
}

// What is read ahead is bounded, in targets and in bytes.
func TestReadingAheadIsBounded(t *testing.T) {
	f := newFixture(t)
	for i := range maxTargets + 1 {
		f.append(target(i), "m v=1 1")
	}
	r, err := f.queue.Reader("near")
	if err != nil {
		t.Fatal(err)
	}
	d := New(Config{Name: "near", Reader: r, NewSender: func(func(int)) Sender { return nil }, Logger: discard()})
	if err := d.readAhead(t.Context(), &d.writers[0].limit); err != nil || len(d.ready) != maxTargets || !d.isAhead {
		t.Errorf("%d targets are ready, %v", len(d.ready), err)
	}
	d.ready, d.isAhead = nil, false
	text := "m v=\"" + noise(300_000) + "\" 1"
	for i := range 40 {
		f.append(target(i%20), text)
	}
	if err := d.readAhead(t.Context(), &d.writers[0].limit); err != nil {
		t.Fatal(err)
	}
	if n := d.readyBytes(); n > maxBytes || n < maxBytes-400_000 || len(d.ready) != 20 {
		t.Errorf("%d bytes of %d targets are ready", n, len(d.ready))
	}
}

// noise is text that does not compress to less than three quarters.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n*3/4)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return base64.StdEncoding.EncodeToString(b)
}

// A backlog of small batches whose writers take turns, delivered to a server that
// takes everything.
func BenchmarkTurns(b *testing.B) {
	lines := make([]string, 10)
	for i := range lines {
		lines[i] = fmt.Sprintf("cpu,cpu=cpu%d,host=pi-1 usage_idle=93.7,usage_user=4.1 17953668000000000%02d", i%4, i)
	}
	for _, targets := range []int{1, 2, 10} {
		b.Run(fmt.Sprintf("%d targets", targets), func(b *testing.B) {
			f := newFixture(b)
			for i := range b.N {
				f.append(target(i%targets), lines...)
			}
			s := newServer(b, all)
			b.ResetTimer()
			d := f.start("near", s, nil)
			for d.Status().Backlog.Batches > 0 {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(s.writes)/float64(b.N), "writes/op")
		})
	}
}
