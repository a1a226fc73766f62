package output

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/durable/durabletest"
)

// fill leaves no room on a disk until the file it returns is removed.
func fill(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "filler")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); ; {
		if _, err := f.Write(block); err != nil {
			return file
		}
	}
}

// long is a line that does not compress well.
func long(i int) string {
	h := fnv.New64a()
	var text strings.Builder
	for j := range 12 {
		fmt.Fprint(h, i, j)
		fmt.Fprintf(&text, "%016x", h.Sum64())
	}
	return fmt.Sprintf("m,host=n1 n=%di,s=\"%s\" %d", i, text.String(), 1_700_000_000_000_000_000+int64(i))
}

// outage is an hour of ten-second ticks, each of them ten milliseconds long.
type outage struct {
	*running
	t     *testing.T
	c     Config
	given int
}

const (
	linesPerTick = 50
	outageLimit  = 400 // lines in memory
)

// ticks gathers so often, and looks at memory each time.
func (o *outage) ticks(n int) {
	o.t.Helper()
	for range n {
		var text strings.Builder
		for range linesPerTick {
			text.WriteString(long(o.given) + "\n")
			o.given++
		}
		o.Append(o.t.Context(), []byte(text.String()), linesPerTick)
		if s := o.Status(); s.MemoryLines > outageLimit || s.MemoryBytes > 4*outageLimit*300 || s.Dropped != 0 {
			o.t.Fatalf("after %d lines: %+v", o.given, s)
		}
		if !o.c.Disk { // which waits for the disk
			time.Sleep(10 * time.Millisecond)
		}
	}
	o.holds(int64(o.given))
}

func (o *outage) restart() {
	o.t.Helper()
	if err := o.stop(); err != nil {
		o.t.Fatal(err)
	}
	o.running = run(o.t, o.c)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An hour without the server, with everything that may happen in it, costs not
// a line, and memory stays what it was.
func TestAnHourOfOutage(t *testing.T) {
	for _, disk := range []bool{false, true} {
		t.Run(fmt.Sprint("disk ", disk), func(t *testing.T) {
			db := newInfluxd(t)
			db.misbehave(status(http.StatusServiceUnavailable, "busy"))
			dir := durabletest.Mount(t, "tmpfs", "size=24m")
			c := settings("http://127.0.0.1:1")
			c.Directory, c.Disk, c.minFree = dir, disk, 256<<10
			c.BatchSize, c.BufferLimit, c.FlushInterval = 100, outageLimit, 10*time.Millisecond
			o := &outage{running: run(t, c), t: t, c: c}
			before := heap()
			o.ticks(90) // a quarter of an hour

			o.restart()
			o.ticks(60)

			c.URLs, c.BatchSize = []string{db.URL}, 70
			if err := o.Reconfigure(t.Context(), c.Output); err != nil {
				t.Fatal(err)
			}
			o.ticks(60)

			o.until("memory has its room again", func() bool { return o.Status().MemoryLines < 100 })
			filler := fill(t, dir)
			o.ticks(4)
			o.until("it says that the disk is full", func() bool { return o.Status().Buffer != "" && o.Status().MemoryLines > 0 })
			o.ticks(2)
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			o.until("the disk has it all", func() bool { o.FlushNow(); return o.Status().MemoryLines == 0 && o.Status().Buffer == "" })
			o.ticks(60)

			c.BufferLimit, c.BufferMaxBytes, c.Username = outageLimit/2, 32<<20, "u"
			o.c = c
			o.restart()
			o.ticks(84)
			if grown := heap() - before; grown > 2<<20 {
				t.Errorf("the heap has grown by %d bytes", grown)
			}

			db.misbehave(nil)
			o.FlushNow()
			o.until("all is delivered", o.done)
			got := db.stored()
			if len(got) != o.given {
				t.Errorf("%d lines given, %d stored", o.given, len(got))
			}
			for i := range min(len(got), o.given) {
				if got[i] != long(i) {
					t.Fatalf("line %d is %s", i, got[i])
				}
			}
			if s := o.Status(); s.Dropped != 0 || s.Rejected != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
