package fleet

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
)

func TestCodes(t *testing.T) {
	for _, v := range []float64{-100, -12.34, 0, 0.01, 48.5, 100, 555} {
		if got := decode(encode(v)); math.Abs(got-v) > 0.0101 {
			t.Errorf("%v comes back as %v", v, got)
		}
	}
	for _, v := range []float64{-1e9, 1e9, math.Inf(1), math.Inf(-1)} {
		if encode(v) == 0 {
			t.Errorf("%v looks like no reading", v)
		}
	}
}

func TestHistory(t *testing.T) {
	l := newLab(t, Config{})
	for i := range 6 { // every 5 s: two readings a step
		if i != 2 && i != 3 {
			l.write("10.0.0.7", fmt.Sprintf("cpu,host=a,cpu=cpu-total usage_idle=%d\ntemp,host=a,sensor=cpu temp=40", 100-10*i))
		}
		l.pass(5 * time.Second)
	}
	h, err := l.History("a", "cpu_percent", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := History{Node: "a", Vital: "cpu_percent", Start: start, StepSeconds: 10, Values: []*float64{num(5), nil, num(45), nil}}
	if d := cmp.Diff(want, h, cmpopts.EquateApprox(0, 0.011)); d != "" {
		t.Error(d)
	}
	if h, err := l.History("a", "temperature_celsius", time.Hour); err != nil || len(h.Values) != 361 || h.Values[359] == nil || *h.Values[359] != 40 {
		t.Errorf("%v, %d values", err, len(h.Values))
	}
	if h, err := l.History("a", "load1", time.Minute); err != nil || h.Values[3] != nil {
		t.Errorf("a vital it never sent: %v, %v", h.Values, err)
	}
	if _, err := l.History("a", "happiness", time.Minute); err != ErrNoVital {
		t.Error(err)
	}
	if _, err := l.History("b", "load1", time.Minute); err != ErrNoNode {
		t.Error(err)
	}
}

func TestHistoryEnds(t *testing.T) {
	l := newLab(t, Config{History: time.Hour})
	for range 6 * 60 * 4 {
		l.write("10.0.0.7", "cpu,host=a,cpu=cpu-total usage_idle=50")
		l.pass(10 * time.Second)
	}
	if l.shelf.blocks > 3 {
		t.Errorf("%d hours are held for a history of one", l.shelf.blocks)
	}
	h, err := l.History("a", "cpu_percent", 24*time.Hour)
	if err != nil || len(h.Values) != 361 {
		t.Fatalf("%d values, %v", len(h.Values), err)
	}
	for i, v := range h.Values[:360] {
		if v == nil {
			t.Fatalf("value %d is missing", i)
		}
	}
	if err := l.Forget("a"); err != nil || l.shelf.blocks != 0 {
		t.Errorf("%v; %d hours are still held", err, l.shelf.blocks)
	}
}

func TestHistoriesShareABound(t *testing.T) {
	l := newLab(t, Config{HistoryBytes: 3 * blockBytes})
	for range 2 * 360 {
		for n := range 5 {
			l.write("10.0.0.7", fmt.Sprintf("cpu,host=n%d,cpu=cpu-total usage_idle=50", n))
		}
		l.pass(10 * time.Second)
	}
	if l.shelf.blocks != 3 {
		t.Errorf("%d blocks", l.shelf.blocks)
	}
	for n := range 5 {
		h, err := l.History(fmt.Sprintf("n%d", n), "cpu_percent", time.Minute)
		if err != nil || (h.Values[0] != nil) != (n < 3) {
			t.Errorf("n%d: %v, %v", n, h.Values[0], err)
		}
	}
}

// A thousand nodes of which every chief vital is known for six hours.
func TestMemoryOfAThousandNodes(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	l := newLab(t, Config{})
	for range 7 { // touches every hour; the blocks are whole from the first
		for n := range 1000 {
			l.write("10.0.0.7", fmt.Sprintf("cpu,host=n%[1]d,cpu=cpu-total usage_idle=50\nmem,host=n%[1]d used_percent=1\nswap,host=n%[1]d used_percent=1\n"+
				"system,host=n%[1]d load1=1,n_cpus=4i\ntemp,host=n%[1]d,sensor=cpu temp=50\ndisk,host=n%[1]d,path=/ used_percent=1\n"+
				`node_info,host=n%[1]d hostname="n%[1]d",model="Raspberry Pi 4 Model B Rev 1.4",os="Debian GNU/Linux 12",cores=4i`, n))
		}
		l.pass(time.Hour)
	}
	used := heap() - before
	t.Logf("%.1f MB", float64(used)/1e6)
	if used > 64e6 {
		t.Errorf("a thousand nodes take %.1f MB", float64(used)/1e6)
	}
	if l.shelf.blocks != 7*6*1000 && l.shelf.blocks != 8*6*1000 {
		t.Errorf("%d blocks", l.shelf.blocks)
	}
}

func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, Config{Directory: dir})
	for i := range 20 {
		l.write("10.0.0.7", fmt.Sprintf("cpu,host=a\\ b,cpu=cpu-total usage_idle=%d\nmem,host=a\\ b,site=x used_percent=7\n"+
			`node_info,host=a\ b,site=x model="Pi",cores=4i,cpu_max_mhz=1500.5,up=t`, 100-i))
		l.judge(false)
		l.pass(10 * time.Second)
	}
	l.save()
	again := newLabAt(t, Config{Directory: dir}, l.now)
	ignore := cmpopts.IgnoreFields(Node{}, "LinesPerMinute")
	if d := cmp.Diff(l.node("a b"), again.node("a b"), ignore, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	for _, vital := range []string{"cpu_percent", "ram_percent"} {
		was, _ := l.History("a b", vital, time.Hour)
		is, err := again.History("a b", vital, time.Hour)
		if d := cmp.Diff(was, is); d != "" || err != nil {
			t.Error(err, d)
		}
	}
	if got := again.happened(); got != l.happened() {
		t.Errorf("events: %q, want %q", got, l.happened())
	}
	if !again.restored.Equal(l.now) {
		t.Errorf("what came before %v is read again", again.restored)
	}
}

func TestADamagedSnapshotIsSetAside(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, Config{Directory: dir})
	l.write("10.0.0.7", "mem,host=a used_percent=7")
	var whole bytes.Buffer
	if err := l.writeTo(&whole); err != nil {
		t.Fatal(err)
	}
	f := func(name string, text []byte) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "fleet.json.gz")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			again := newLab(t, Config{Directory: dir})
			if !again.restored.IsZero() {
				t.Error("nothing of what is kept would be read")
			}
			if _, err := os.Stat(path + ".damaged"); err != nil {
				t.Error(err)
			}
			again.write("10.0.0.7", "mem,host=b used_percent=7")
			again.node("b")
		})
	}
	f("empty", nil)
	f("not gzip", []byte("hello"))
	f("cut", whole.Bytes()[:whole.Len()/2])
	f("its end is missing", whole.Bytes()[:whole.Len()-4])

	// One that inflates to more than anybody would have saved costs little memory.
	zipped := func(write func(io.Writer)) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		fmt.Fprintf(z, "{\"version\":%d}\n", snapshotVersion)
		write(z)
		z.Close()
		return b.Bytes()
	}
	long := bytes.Repeat([]byte("x"), 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f("a line without end", zipped(func(w io.Writer) {
		fmt.Fprint(w, `{"name":"`)
		for range 200 {
			w.Write(long)
		}
	}))
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
		t.Errorf("%d MB were allocated", used>>20)
	}
	v := newLab(t, Config{MaxNodes: 3})
	err := v.readFrom(bytes.NewReader(zipped(func(w io.Writer) {
		for i := range 2 * maxMarks {
			fmt.Fprintf(w, "{\"name\":\"%d\"}\n", i)
		}
		fmt.Fprint(w, "not reached")
	})))
	if err != nil || len(v.records) != 3 {
		t.Errorf("%d records, %v", len(v.records), err)
	}
}
