package line

import (
	"testing"

	"github.com/influxdata/influxdb/models"
)

// The known disagreements with InfluxDB 1.x: it takes these lines, we do not.

func TestStricterOpenQuoteInTheMeasurement(t *testing.T) {
	testStricter(t, " m=\"x f=1 1\n", reasonSwallows)
}

func TestStricterBackslashAtTheEnd(t *testing.T) {
	testStricter(t, `m f="a"\`, reasonSwallows)
}

func TestStricterBackslashBeforeTheLastNewline(t *testing.T) {
	testStricter(t, "m f=\"a\"\\\n", reasonSwallows)
}

func TestStricterHiddenNewlineAtTheEnd(t *testing.T) {
	testStricter(t, "m f=\"a\"\\\n\nm f=1 1\n", reasonSwallows)
}

func TestStricterTextBehindANewline(t *testing.T) {
	testStricter(t, "m\\\\ a=\"x f=1 \nfoo\" y\n", reasonIgnored)
}

func TestStricterTabThenNoFieldKey(t *testing.T) {
	testStricter(t, "m \t=1 1\n", reasonNoKey)
}

func TestStricterEscapedBackslashThenNoFieldKey(t *testing.T) {
	testStricter(t, `m a="x"\\,=2 1`, reasonNoKey)
}

func TestStricterUnreadableValue(t *testing.T) {
	const body = `m a="x"=5,"b=zz",c=1 1`
	testStricter(t, body, reasonUnreadable)
	points, _ := models.ParsePointsString(body)
	if _, err := points[0].Fields(); err == nil {
		t.Error("InfluxDB can read the fields")
	}
}

func TestStricterComment(t *testing.T) {
	for _, body := range []string{"# a=\"b", "# a=\"b\n", "#\\", "#\\\n"} {
		r := agree(t, []byte(body), Nanosecond)
		if len(r.Bad) != 1 || r.Bad[0].Reason != reasonComment {
			t.Errorf("%q: %+v", body, r)
		}
	}
}

// testStricter checks that InfluxDB takes the first line of body, that we
// refuse it, and that the harm is real where a line is joined after it.
func testStricter(t *testing.T, body, reason string) {
	t.Helper()
	r := agree(t, []byte(body), Nanosecond)
	if len(r.Bad) != 1 || r.Bad[0].Reason != reason || !Stricter(reason) {
		t.Fatalf("%q: %+v", body, r)
	}
	points, text := influxErrors([]byte(body), Nanosecond)
	if text != "" || len(points) == 0 {
		t.Fatalf("%q: InfluxDB refuses it: %s", body, text)
	}
	if reason != reasonSwallows {
		return
	}
	bad := body[r.Bad[0].Start:r.Bad[0].End]
	for _, alone := range []string{bad, " " + bad} {
		joined, _ := influxErrors([]byte(alone+"\nm f=1 1\nm f=1 2\n"), Nanosecond)
		if len(joined) < 3 {
			return
		}
	}
	t.Errorf("%q swallows nothing", bad)
}
