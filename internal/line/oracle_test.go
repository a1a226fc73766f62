package line

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/influxdata/influxdb/models"
)

// allPrecisions pairs ours with InfluxDB's names.
var allPrecisions = map[Precision]string{
	Nanosecond: "n", Microsecond: "u", Millisecond: "ms", Second: "s", Minute: "m", Hour: "h",
}

// influxErrors returns what InfluxDB's parser says about body: the points it
// takes and the error text of the lines that it does not.
func influxErrors(body []byte, p Precision) (points []models.Point, text string) {
	points, err := models.ParsePointsWithPrecision(append([]byte(nil), body...), time.Unix(1700000000, 0), allPrecisions[p])
	if err != nil {
		text = err.Error()
	}
	return points, text
}

// ourErrors words the bad lines of a report as InfluxDB would, and counts
// those that InfluxDB would have taken apart.
func ourErrors(body []byte, r Report) (text string, stricter int) {
	var failed []string
	for _, b := range r.Bad {
		switch {
		case b.Reason == reasonComment:
		case Stricter(b.Reason):
			stricter++
		default:
			failed = append(failed, (&Error{body[b.Start:b.End], b.Reason}).Error())
		}
	}
	return strings.Join(failed, "\n"), stricter
}

// agree fails the test unless our scan of body and InfluxDB's parser agree.
func agree(t *testing.T, body []byte, p Precision) Report {
	t.Helper()
	var s Scanner
	r := s.Scan(body, p)
	points, want := influxErrors(body, p)
	got, stricter := ourErrors(body, r)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q, precision %s: errors (-InfluxDB +ours):\n%s", body, p, diff)
	}
	if r.Lines+stricter != len(points) {
		t.Errorf("%q, precision %s: %d lines and %d of InfluxDB's refused, InfluxDB takes %d", body, p, r.Lines, stricter, len(points))
	}
	if wantOpen := len(body) > 0 && body[len(body)-1] != '\n'; r.Unterminated != wantOpen {
		t.Errorf("%q: Unterminated = %v", body, r.Unterminated)
	}
	agreePlain(t, body, p)
	return r
}

// agreePlain fails the test where the short way over plain lines does not lead
// to what the exact reading finds.
func agreePlain(t *testing.T, body []byte, p Precision) {
	t.Helper()
	var short, exact parser
	short.setLimit(p.limit())
	exact.setLimit(p.limit())
	for i := 0; i < len(body); {
		next, what, reason := exact.exact(body, i)
		if got, ok := short.plain(body, i); ok {
			if what != sound || got != next || short.at != exact.at {
				t.Errorf("%q at %d: plain %+v to %d, exact %+v to %d, %q", body, i, short.at, got, exact.at, next, reason)
			}
		}
		i = next
	}
}
