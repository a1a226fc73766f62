package tests

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// ledger keeps the books of one run: the lines for which a relay has given its
// word, and those that have reached a destination. A line follows from its
// number, and nothing else; a number is a writer and a count.
type ledger struct {
	epoch int64  // of the first timestamp
	bulk  int    // bytes that nobody can compress, in each line
	noise []byte // where they are from

	mu       sync.Mutex
	accepted map[int64]bool
	got      map[int64]int // how often
	latest   map[int64]int64
	// unordered: the destination is one whose writes are taken apart.
	unordered bool
	late      int // lines that arrived first after a later one of their writer
	wrong     []string
}

func newLedger(bulk int) *ledger {
	l := &ledger{epoch: time.Now().Add(-time.Hour).UnixNano(), bulk: bulk,
		accepted: map[int64]bool{}, got: map[int64]int{}, latest: map[int64]int64{}}
	if bulk == 0 {
		return l
	}
	letters := rand.New(rand.NewPCG(1, 2))
	for range 1 << 20 {
		l.noise = append(l.noise, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[letters.IntN(64)])
	}
	return l
}

const perWriter = 32 // bits of a number that count

// appendLine appends the line of a number.
func (l *ledger) appendLine(b []byte, n int64) []byte {
	b = fmt.Appendf(b, "chk,writer=%d seq=%di,crc=%di", n>>perWriter, n, crc32.ChecksumIEEE(strconv.AppendInt(nil, n, 10)))
	if l.bulk > 0 {
		at := int(uint64(n) * 2654435761 % uint64(len(l.noise)-l.bulk))
		b = append(append(append(b, `,bulk="`...), l.noise[at:at+l.bulk]...), '"')
	}
	return fmt.Appendf(b, " %d\n", l.epoch+n)
}

func (l *ledger) body(from, to int64) (b []byte) {
	for n := from; n < to; n++ {
		b = l.appendLine(b, n)
	}
	return b
}

// accept notes that somebody has given his word for some lines.
func (l *ledger) accept(from, to int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := from; n < to; n++ {
		l.accepted[n] = true
	}
}

// count is how many lines are accepted so far.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// deliver notes lines that reach a destination. Each must be, byte for byte,
// what its number makes it.
func (l *ledger) deliver(lines []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range bytes.Lines(lines) {
		n, err := numberOf(text)
		if err != nil || !bytes.Equal(text, l.appendLine(nil, n)) {
			l.wrong = append(l.wrong, fmt.Sprintf("a line was altered or invented: %q", text[:min(len(text), 200)]))
			continue
		}
		if writer := n >> perWriter; l.got[n] == 0 && n < l.latest[writer] {
			l.late++
		} else {
			l.latest[writer] = max(l.latest[writer], n)
		}
		l.got[n]++
	}
}

func numberOf(text []byte) (int64, error) {
	_, rest, _ := bytes.Cut(text, []byte(" seq="))
	digits, _, _ := bytes.Cut(rest, []byte("i"))
	return strconv.ParseInt(string(digits), 10, 64)
}

func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// fork returns the books as they are now, for another future.
func (l *ledger) fork() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &ledger{epoch: l.epoch, bulk: l.bulk, noise: l.noise, unordered: l.unordered,
		accepted: maps.Clone(l.accepted), got: maps.Clone(l.got), latest: maps.Clone(l.latest)}
}

func (l *ledger) lost() (lost []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.accepted {
		if l.got[n] == 0 {
			lost = append(lost, n)
		}
	}
	slices.Sort(lost)
	return lost
}

// verdict is nil if everything accepted was delivered, as it was.
func (l *ledger) verdict() error {
	lost := l.lost()
	l.mu.Lock()
	defer l.mu.Unlock()
	var wrong []string
	if len(lost) > 0 {
		wrong = append(wrong, fmt.Sprintf("%d of %d accepted lines are lost, such as %v", len(lost), len(l.accepted), lost[:min(5, len(lost))]))
	}
	if len(l.wrong) > 0 {
		wrong = append(wrong, fmt.Sprintf("%d things are wrong, such as %s", len(l.wrong), strings.Join(l.wrong[:min(3, len(l.wrong))], "; ")))
	}
	if l.late > 0 && !l.unordered {
		wrong = append(wrong, fmt.Sprintf("%d lines were out of order", l.late))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// String is the balance.
func (l *ledger) String() string {
	lost := len(l.lost())
	l.mu.Lock()
	defer l.mu.Unlock()
	twice := 0
	for _, times := range l.got {
		twice += times - 1
	}
	alike := "all identical"
	if len(l.wrong) > 0 {
		alike = fmt.Sprintf("%d WRONG", len(l.wrong))
	}
	return fmt.Sprintf("%d lines accepted, %d delivered, %d lost, %d duplicates, %s", len(l.accepted), len(l.got), lost, twice, alike)
}

// sink is a destination that does what a test wants and keeps the books.
type sink struct {
	*http.Server
	t    *testing.T
	book *ledger
	port int

	// still is held by who needs a moment in which nothing is delivered.
	still sync.RWMutex

	mu     sync.Mutex
	behave func(w http.ResponseWriter, r *http.Request, lines []byte) // nil: as a destination should
	writes int
}

func newSink(t *testing.T, book *ledger) *sink {
	t.Helper()
	s := &sink{t: t, book: book, port: freePort(t)}
	s.up()
	t.Cleanup(s.down)
	return s
}

func (s *sink) url() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// up has the sink listen.
func (s *sink) up() {
	s.t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server = &http.Server{Handler: http.HandlerFunc(s.serve)}
	go s.Serve(listener)
}

// down has it refuse connections.
func (s *sink) down() { s.Close() }

// use changes the books.
func (s *sink) use(book *ledger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book = book
}

// does changes what it does.
func (s *sink) does(behave func(w http.ResponseWriter, r *http.Request, lines []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behave = behave
}

// written returns how many writes it was sent.
func (s *sink) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *sink) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/write" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	packed, err := gzip.NewReader(r.Body)
	var lines []byte
	if err == nil {
		lines, err = io.ReadAll(packed)
	}
	if err != nil { // the relay was killed
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.still.RLock()
	defer s.still.RUnlock()
	s.mu.Lock()
	s.writes++
	behave := s.behave
	s.mu.Unlock()
	if behave != nil {
		behave(w, r, lines)
		return
	}
	s.book.deliver(lines)
	w.WriteHeader(http.StatusNoContent)
}
