package ingest

import (
	"bytes"
	"net/http/httptest"
	"testing"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/line"
)

// FuzzWrite sends anything to every door. Whatever is answered, what is kept
// must be sound by itself: every line stamped and ended, the counts right.
func FuzzWrite(f *testing.F) {
	for _, body := range []string{good, oneBad, "m v=1", "m v=\"a\nb\" 1\n", "# c\n\nm v=1 1", "m,t=\\ v=1\n", "m v=\"\n"} {
		f.Add([]byte(body), false, uint8(0))
		f.Add(influx.Gzip(nil, []byte(body)), true, uint8(3))
	}
	targets := []string{"/write?db=d", "/write?db=d&precision=u", "/write?db=d&precision=s", "/write?db=d&precision=h", "/api/v2/write?bucket=b", "/api/v2/write?bucket=b/r&precision=ms", "/api/v3/write_lp?db=d", "/api/v3/write_lp?db=d&precision=s&accept_partial=false"}
	f.Fuzz(func(t *testing.T, body []byte, compressed bool, target uint8) {
		d := newDoor()
		r := httptest.NewRequest("POST", targets[int(target)%len(targets)], bytes.NewReader(body))
		if compressed {
			r.Header.Set("Content-Encoding", "gzip")
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		switch w.Code {
		case 204, 400, 413, 500:
		default:
			t.Errorf("answered %d", w.Code)
		}
		if s := d.Stats(); s.Panics != 0 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
		for _, b := range d.queue.batches {
			checkKept(t, b.Body, b.Lines, b.RawBytes, b.Target.Precision)
		}
	})
}

func checkKept(t *testing.T, body []byte, lines int, rawBytes int64, precision string) {
	t.Helper()
	raw, err := influx.Gunzip(body)
	if err != nil {
		t.Fatal(err)
	}
	units := map[string]line.Precision{"ns": line.Nanosecond, "us": line.Microsecond, "ms": line.Millisecond, "s": line.Second}
	unit, ok := units[precision]
	var s line.Scanner
	rep := s.Scan(raw, unit)
	if !ok || len(rep.Bad) > 0 || rep.Unstamped > 0 || rep.Unterminated || rep.Lines != lines || int64(len(raw)) != rawBytes {
		t.Errorf("kept as %d lines, %d bytes, precision %q: %q: %+v", lines, rawBytes, precision, raw, rep)
	}
}
