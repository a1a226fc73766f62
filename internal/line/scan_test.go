package line

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// want is what a scan of one body should find: the number of sound lines, how
// many of them are unstamped, and the reasons of the others.
type want struct {
	lines, unstamped int
	reasons          []string
}

func good(lines int) want            { return want{lines: lines} }
func unstamped(lines int) want       { return want{lines: lines, unstamped: lines} }
func refused(reasons ...string) want { return want{reasons: reasons} }

// TestScan holds what InfluxDB's parser does with all kinds of lines; every
// row is checked against that parser too.
func TestScan(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       want
	}{
		{"empty body", "", good(0)},
		{"only a newline", "\n", good(0)},
		{"blank lines", "\n \n\t\n\x00\n", good(0)},
		{"comment", "# m f=1 1\n", good(0)},
		{"indented comment", " \t# m f=1 1\n", good(0)},
		{"comment between lines", "m f=1 1\n#x\nm f=1 2\n", good(2)},
		{"comment that swallows within the body", "# a=\"b\nm f=1 1\nx=\"\nm f=1 2\n", good(1)},
		{"comment whose backslash hides its newline", "# C:\\\nm f=1 1\nm f=1 2\n", good(1)},
		{"no newline at the end", "m f=1 1", good(1)},
		{"empty lines at the end", "m f=1 1\n\n\n", good(1)},

		{"measurement alone", "m", refused("missing fields")},
		{"measurement and space", "m ", refused("invalid field format")},
		{"comma first", ",t=v f=1", refused("missing measurement")},
		{"number sign within the measurement", "m#1 f=1 1", good(1)},
		{"equals sign in the measurement", "a=b f=1 1", good(1)},
		{"quote in the measurement", "a\"b f=1 1\nm f=1 2\n", good(2)},
		{"newline first in a line with a quote", "m f=\"a\"\n\nm f=1 1", want{lines: 2, unstamped: 1}},
		{"escaped measurement", `m\,a\ b f=1 1`, good(1)},
		{"backslash first", `\m f=1 1`, good(1)},
		{"escaped backslash before the comma", `m\\,t=v f=1 1`, good(1)},
		{"escaped newline in the measurement", "m\\\nx f=1 1", good(1)},
		{"tab in the measurement", "m\tx f=1 1", good(1)},
		{"NUL before the measurement", "\x00 \tm f=1 1", good(1)},
		{"bytes that are not UTF-8", "m\xff,t=\xfe f\xfd=\"\xfc\" 1", good(1)},

		{"no tag", "m, f=1", refused("missing tag key")},
		{"no tag at the end", "m,", refused("missing tag key")},
		{"tag without key", "m,=v f=1", refused("missing tag key")},
		{"two commas", "m,a=b,,c=d f=1", refused("missing tag key")},
		{"tag without equals sign", "m,t f=1", refused("missing tag value")},
		{"tag without value", "m,t= f=1", refused("missing tag value")},
		{"tag without value before a tag", "m,t=,u=v f=1", refused("missing tag value")},
		{"tag and nothing more", "m,t=v", refused("missing fields")},
		{"tag key and nothing more", "m,t", refused("missing tag value")},
		{"second equals sign in a tag", "m,t=a=b f=1", refused("invalid tag format")},
		{"equals sign first in a tag value", "m,t==a f=1 1", good(1)},
		{"quotes in a tag", `m,t="a",u="b f=1 1`, good(1)},
		{"escapes in tags", `m,a\ b=c\,d,e\=f=g\=h f=1 1`, good(1)},
		{"tags out of order", "m,b=1,a=2,c=3 f=1 1", good(1)},
		{"duplicate tags side by side", "m,a=1,a=2 f=1", refused("duplicate tags")},
		{"duplicate tags apart", "m,b=1,a=2,b=3 f=1", refused("duplicate tags")},
		{"tag keys with a common start", "m,ab=1,a=2,abc=3 f=1 1", good(1)},
		{"escaped key is another key", `m,a=1,\a=2 f=1 1`, good(1)},

		{"no field", "m  ", refused("invalid field format")},
		{"field without key", "m =1", refused("missing field key")},
		{"second field without key", "m a=1,=2", refused("missing field key")},
		{"key that is an escaped space", `m \ =1 1`, good(1)},
		{"key that is an escaped comma", `m a=1,\,=2 1`, good(1)},
		{"field without value", "m f=", refused("missing field value")},
		{"field without value before a stamp", "m f= 1", refused("missing field value")},
		{"field without value before a field", "m f=,g=1", refused("missing field value")},
		{"field without equals sign", "m f", refused("invalid field format")},
		{"comma at the end", "m f=1, 1", refused("invalid field format")},
		{"field without equals sign between", "m f=1,g,h=1", refused("invalid field format")},
		{"equals sign behind an escaped backslash", `m a\\=1`, refused(`invalid value: field-key=a\\=1`)},
		{"several spaces", "m,t=v   f=1   1   ", good(1)},
		{"tab before the fields", "m \tf=1 1", good(1)},
		{"tab behind the fields", "m f=1\t1", refused("invalid number")},
		{"tab before the timestamp", "m f=1 \t1", good(1)},
		{"space at the end", "m f=1 ", unstamped(1)},
		{"duplicate fields", "m f=1,f=2 1", good(1)},
		{"quotes in a field key", `m "a"=1 1`, good(1)},
		{"escapes in field keys", `m a\ b=1,c\=d=2,e\,f=3,g\"h=4 1`, good(1)},

		{"floats", "m a=1,b=1.5,c=.5,d=5.,e=-1,f=-.5,g=1e5,h=1E-5,i=1.5e+05,j=007 1", good(1)},
		{"integers", "m a=1i,b=-1i,c=0i,d=007i,e=9223372036854775807i,f=-9223372036854775808i 1", good(1)},
		{"integer too large", "m f=9223372036854775808i", refused(`unable to parse integer 9223372036854775808: strconv.ParseInt: parsing "9223372036854775808": value out of range`)},
		{"integer too small", "m f=-9223372036854775809i", refused(`unable to parse integer -9223372036854775809: strconv.ParseInt: parsing "-9223372036854775809": value out of range`)},
		{"unsigned integer", "m f=5u", refused("invalid number")},
		{"long float", "m f=0.123456789012345678901234567890 1", good(1)},
		{"float too large", "m f=1e309", refused("invalid float")},
		{"float too large without exponent", "m f=" + strings.Repeat("9", 400), refused("invalid float")},
		{"exponent without digits", "m f=1e", refused("invalid float")},
		{"exponent first", "m f=-e5", refused("invalid float")},
		{"integer with point", "m f=1.5i", refused("invalid number")},
		{"integer with exponent", "m f=1e5i", refused("invalid number")},
		{"digits behind the i", "m f=1i5", refused("invalid number")},
		{"two points", "m f=1.1.1", refused("invalid number")},
		{"only a minus", "m f=-", refused("invalid number")},
		{"minus before the comma", "m f=-,g=1", refused("invalid number")},
		{"minus and i", "m f=-i", refused("invalid number")},
		{"only a point", "m f=.", refused("invalid number")},
		{"minus and point", "m f=-.", refused("invalid number")},
		{"plus", "m f=+1", refused("invalid boolean")},
		{"plus within", "m f=1+1", refused("invalid number")},
		{"two minuses", "m f=--1", refused("invalid number")},
		{"NaN", "m f=NaN", refused("invalid number")},
		{"nan", "m f=nan", refused("invalid number")},
		{"Inf", "m f=Inf", refused("invalid boolean")},
		{"minus Inf", "m f=-Inf", refused("invalid number")},
		{"hexadecimal", "m f=0x10", refused("invalid number")},
		{"underscore", "m f=1_000", refused("invalid number")},

		{"booleans", "m a=t,b=T,c=true,d=True,e=TRUE,f=f,g=F,h=false,i=False,j=FALSE 1", good(1)},
		{"boolean in odd case", "m f=tRUE", refused("invalid boolean")},
		{"boolean cut short", "m f=tru", refused("invalid boolean")},
		{"boolean too long", "m f=truee", refused("invalid boolean")},
		{"bare word", "m f=word", refused("invalid boolean")},

		{"strings", `m a="",b="x y",c="a,b=c" 1`, good(1)},
		{"escapes in strings", `m a="\"",b="\\",c="\n",d="\\\"" 1`, good(1)},
		{"newline in a string", "m f=\"a\nb\" 1\nm f=1 2\n", good(2)},
		{"text behind the closing quote", `m f="a"b 1`, good(1)},
		{"open quote", "m f=\"a", refused("unbalanced quotes")},
		{"open quote swallows the rest", "m f=1 1\nm f=\"a 1\nm f=1 2\n", want{lines: 1, reasons: []string{"unbalanced quotes"}}},
		{"escaped closing quote", `m f="a\"`, refused("unbalanced quotes")},
		{"long string", `m f="` + strings.Repeat("x\\\"", 200) + `" 1`, good(1)},

		{"no timestamp", "m f=1", unstamped(1)},
		{"no timestamp behind a string", "m f=\"x\"\n", unstamped(1)},
		{"negative timestamp", "m f=1 -1", good(1)},
		{"timestamp zero", "m f=1 0", good(1)},
		{"timestamp with zeros", "m f=1 00000000000000000000001", good(1)},
		{"timestamp is a word", "m f=1 now", refused("bad timestamp")},
		{"timestamp is a float", "m f=1 1.5", refused("bad timestamp")},
		{"only a minus for timestamp", "m f=1 -", refused(`strconv.ParseInt: parsing "-": invalid syntax`)},
		{"minus within", "m f=1 1-1", refused("bad timestamp")},
		{"carriage return", "m f=1 1\r\nm f=1 2\n", want{lines: 1, reasons: []string{"bad timestamp"}}},
		{"carriage return behind a number", "m f=1\r\n", refused("invalid number")},
		{"carriage return alone", "\r\n", refused("missing fields")},
		{"more behind the timestamp", "m f=1 1 2", refused("point is invalid")},
		{"tab behind the timestamp", "m f=1 1 \t", refused("point is invalid")},
		{"timestamp beyond int64", "m f=1 9223372036854775808", refused(`strconv.ParseInt: parsing "9223372036854775808": value out of range`)},

		{"bad lines keep their order", "m\nm f=1 1\nm f\n  ,x\n", want{lines: 1, reasons: []string{"missing fields", "invalid field format", "missing measurement"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkScan(t, c.body, Nanosecond, c.want)
			for p := range allPrecisions {
				agree(t, []byte(c.body), p)
			}
		})
	}
}

// checkScan scans body, compares with InfluxDB and with w.
func checkScan(t *testing.T, body string, p Precision, w want) Report {
	t.Helper()
	r := agree(t, []byte(body), p)
	var reasons []string
	for _, b := range r.Bad {
		reasons = append(reasons, b.Reason)
	}
	if diff := cmp.Diff(w, want{r.Lines, r.Unstamped, reasons}, cmp.AllowUnexported(want{})); diff != "" {
		t.Errorf("%q (-want +got):\n%s", body, diff)
	}
	return r
}

// TestScanKeyLength stands at both sides of the longest key.
func TestScanKeyLength(t *testing.T) {
	name := strings.Repeat("m", maxKey)
	key := strings.Repeat("k", 30000)
	for _, c := range []struct {
		name, body string
		want       want
	}{
		{"measurement too long", name + "m f=1 1", refused("max key length exceeded: 65536 > 65535")},
		{"longest measurement", name[:maxKey-5] + " f=1 1", good(1)},
		{"with field key too long", name[:maxKey-4] + " f=1 1", refused("max key length exceeded: 65536 > 65535")},
		{"second field key too long", name[:maxKey-5] + " f=1,ff=2 1", refused("max key length exceeded: 65536 > 65535")},
		{"tags too long", "m," + key + "=" + key + "," + key + "x=" + key + " f=1", refused("max key length exceeded: 120006 > 65535")},
		{"long field keys", "m " + key + "=1," + key + "x=1," + key + "y=1 1", good(1)},
		{"long string", "m f=\"" + name + name + "\" 1", good(1)},
	} {
		t.Run(c.name, func(t *testing.T) { checkScan(t, c.body, Nanosecond, c.want) })
	}
}

// TestScanTimestampRange stands at both sides of the limits of each precision.
func TestScanTimestampRange(t *testing.T) {
	for p := range allPrecisions {
		limit := p.limit()
		for _, stamp := range []int64{limit, limit - 1, -limit, 1} {
			checkScan(t, fmt.Sprintf("m f=1 %d\n", stamp), p, good(1))
		}
		for _, stamp := range []int64{limit + 1, -limit - 1} {
			checkScan(t, fmt.Sprintf("m f=1 %d\n", stamp), p, refused(reasonRange))
		}
	}
}

// TestScanManyTags has more tags than InfluxDB's first guess, sorted and not.
func TestScanManyTags(t *testing.T) {
	var tags []string
	for i := range 300 {
		tags = append(tags, fmt.Sprintf(",t%03d=v", i))
	}
	checkScan(t, "m"+strings.Join(tags, "")+" f=1 1", Nanosecond, good(1))
	slices.Reverse(tags)
	checkScan(t, "m"+strings.Join(tags, "")+" f=1 1", Nanosecond, good(1))
	checkScan(t, "m"+strings.Join(tags, "")+tags[7]+" f=1 1", Nanosecond, refused("duplicate tags"))
}

// TestScanBadText holds where a bad line begins and ends.
func TestScanBadText(t *testing.T) {
	body := []byte("m f=1 1\n \tm\n\nm f=\"open\nand more\n")
	var s Scanner
	var got []string
	for _, b := range s.Scan(body, Nanosecond).Bad {
		got = append(got, string(body[b.Start:b.End]))
	}
	if diff := cmp.Diff([]string{"m", "m f=\"open\nand more"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestScannerIsReusable(t *testing.T) {
	var s Scanner
	if r := s.Scan([]byte("m\nm\n"), Second); len(r.Bad) != 2 {
		t.Fatalf("first scan: %+v", r)
	}
	if r := s.Scan([]byte("m f=1 1700000000000000000\n"), Nanosecond); len(r.Bad) != 0 || r.Lines != 1 {
		t.Errorf("second scan: %+v", r)
	}
	if r := s.Scan([]byte("m f=1 1700000000000000000\n"), Second); len(r.Bad) != 1 {
		t.Errorf("third scan: %+v", r)
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	odd := []byte(" m\\\\,b=1,a=2,c=3 f=\"x\\\\\",g=123456789012345678901234567890 1\nm,z=1,y=2 f=1e5\n# c\n\n")
	for name, body := range map[string][]byte{"load": loadBody(100), "mixed": mixedBody(100), "odd": odd} {
		var s Scanner
		if n := testing.AllocsPerRun(20, func() { s.Scan(body, Nanosecond) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if r := s.Scan(body, Nanosecond); len(r.Bad) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
