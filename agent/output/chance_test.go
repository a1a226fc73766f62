package output

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
)

// moody is a server that stores half of what it is sent, and says so or not.
type moody struct {
	mu     sync.Mutex
	chance *rand.Rand
	well   bool
	stored map[string]int
	lost   map[string]int // stored, and the answer was lost
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	text, err := influx.Gunzip(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.chance.IntN(20)
	if m.well {
		n = 0
	}
	switch {
	case n < 9 && (m.well || strings.Count(string(text), "\n") <= 6):
		m.store(m.stored, text)
		w.WriteHeader(http.StatusNoContent)
	case n < 9:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case n == 9:
		m.store(m.stored, text)
		m.store(m.lost, text)
		panic(http.ErrAbortHandler)
	default:
		codes := []int{200, 302, 401, 403, 404, 408, 429, 502, 503, 504}
		w.WriteHeader(codes[m.chance.IntN(len(codes))])
	}
}

func (m *moody) store(where map[string]int, text []byte) {
	for l := range strings.Lines(string(text)) {
		where[strings.TrimSuffix(l, "\n")]++
	}
}

// Whatever a server answers, and whatever happens to the agent meanwhile: what
// was taken in is stored. Nothing whose answer had come is stored twice, unless
// the agent was restarted or changed while a batch was stored in part.
func TestChance(t *testing.T) {
	for seed := range uint64(6) {
		for _, version := range []string{"influxdb", "influxdb_v2"} {
			t.Run(fmt.Sprint(version, " ", seed), func(t *testing.T) {
				t.Parallel()
				chance := rand.New(rand.NewPCG(seed, 7))
				m := &moody{chance: rand.New(rand.NewPCG(seed, 8)), stored: map[string]int{}, lost: map[string]int{}}
				srv := httptest.NewServer(m)
				defer srv.Close()
				c := settings(srv.URL)
				c.Name, c.Bucket, c.Directory, c.Disk = version, "b", t.TempDir(), seed%2 == 0
				c.BufferLimit, c.BufferMaxBytes = 30, 8<<20
				o := run(t, c)
				given, calm := 0, seed >= 3
				for range 120 {
					switch n := chance.IntN(20); {
					case n == 0 && !calm:
						if err := o.stop(); err != nil {
							t.Fatal(err)
						}
						o = run(t, c)
					case n <= 2 && !calm:
						c.BatchSize, c.Timeout = 3+chance.IntN(20), time.Second
						if err := o.Reconfigure(t.Context(), c.Output); err != nil {
							t.Fatal(err)
						}
					case n <= 5:
						o.FlushNow()
					default:
						var text strings.Builder
						n := 1 + chance.IntN(15)
						for range n {
							text.WriteString(numbered(given) + "\n")
							given++
						}
						o.Append(t.Context(), []byte(text.String()), n)
					}
					if s := o.Status(); s.Dropped != 0 || s.Rejected != 0 || s.MemoryLines > 30 {
						t.Fatalf("%+v", s)
					}
				}
				m.mu.Lock()
				m.well = true
				m.mu.Unlock()
				o.until("all is stored", func() bool { o.FlushNow(); return o.Held() == 0 })
				if err := o.stop(); err != nil {
					t.Fatal(err)
				}
				m.mu.Lock()
				defer m.mu.Unlock()
				if len(m.stored) != given {
					t.Errorf("%d lines given, %d stored", given, len(m.stored))
				}
				for i := range given {
					if l := numbered(i); m.stored[l] == 0 || calm && m.stored[l] > 1+m.lost[l] {
						t.Errorf("%s was stored %d times; %d answers were lost", l, m.stored[l], m.lost[l])
					}
				}
			})
		}
	}
}
