package line

import (
	"fmt"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	limits := Limits{Line: 200, Tags: 3, Fields: 4, Key: 10, TagValue: 12}
	const ten, twelve = "abcdefghij", "abcdefghijkl"
	tests := []struct{ name, line, reason string }{
		{"nothing", "m v=1 1", ""},
		{"line", `m s="` + strings.Repeat("x", 192) + `" 1`, ""},
		{"line, one more", `m s="` + strings.Repeat("x", 193) + `" 1`, "limit exceeded: 201 bytes of line, at most 200 are taken"},
		{"tags", "m,a=1,b=2,c=3 v=1 1", ""},
		{"tags, one more", "m,a=1,b=2,c=3,d=4 v=1 1", "limit exceeded: 4 tags, at most 3 are taken"},
		{"fields", "m a=1,b=2,c=3,d=4", ""},
		{"fields, one more", "m a=1,b=2,c=3,d=4,e=5", "limit exceeded: 5 fields, at most 4 are taken"},
		{"fields, with commas in a string", `m a="1,2,3,4,5,6,7,8,9",b=2`, ""},
		{"measurement", ten + " v=1", ""},
		{"measurement, one more", ten + "k v=1", "limit exceeded: 11 bytes of measurement, at most 10 are taken"},
		{"tag key", "m," + ten + "=1 v=1", ""},
		{"tag key, one more", "m," + ten + "k=1 v=1", "limit exceeded: 11 bytes of tag key, at most 10 are taken"},
		{"tag value", "m,k=" + twelve + " v=1", ""},
		{"tag value, one more", "m,k=" + twelve + "m v=1", "limit exceeded: 13 bytes of tag value, at most 12 are taken"},
		{"field key", "m " + ten + "=1", ""},
		{"field key, one more", "m " + ten + "k=1", "limit exceeded: 11 bytes of field key, at most 10 are taken"},
		{"a bad line keeps its reason", `m s="` + strings.Repeat("x", 300), "unbalanced quotes"},
		{"the way of odd lines", `m\\x,` + ten + `k=1 v=1`, "limit exceeded: 11 bytes of tag key, at most 10 are taken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Scanner{Limits: limits}
			r := s.Scan([]byte(tt.line), Nanosecond)
			if tt.reason == "" {
				if r.Lines != 1 || len(r.Bad) != 0 {
					t.Errorf("%+v", r)
				}
				return
			}
			if r.Lines != 0 || len(r.Bad) != 1 || r.Bad[0].Reason != tt.reason {
				t.Fatalf("%+v", r)
			}
			if got := tt.line[r.Bad[0].Start:r.Bad[0].End]; got != tt.line {
				t.Errorf("the line is said to be %q", got)
			}
			if want := strings.HasPrefix(tt.reason, "limit"); Limited(tt.reason) != want || want && Stricter(tt.reason) {
				t.Errorf("Limited: %v, Stricter: %v", Limited(tt.reason), Stricter(tt.reason))
			}
		})
	}
}

// Lines up to the room that is computed from the limits are never looked at: no
// line of that size may be beyond one.
func TestTheRoomOfLimitsIsWithinThem(t *testing.T) {
	for tags := range 6 {
		for fields := 1; fields < 6; fields++ {
			line := "m" + strings.Repeat(",a=b", tags) + " " + strings.TrimSuffix(strings.Repeat("a=1,", fields), ",")
			l := Limits{Tags: tags - 1, Fields: fields - 1}
			if key, _ := l.room(); l.Tags > 0 && tags*4+1 <= key {
				t.Errorf("%d tags fit into the room for %d", tags, l.Tags)
			}
			if _, whole := l.room(); l.Fields > 0 && len(line) <= whole {
				t.Errorf("%d fields fit into the room for %d", fields, l.Fields)
			}
		}
	}
}

func TestLinesBeyondALimitAreNotEmitted(t *testing.T) {
	s := Scanner{Limits: Limits{Fields: 2}}
	body := []byte("# c\nm a=1 1\nm a=1,b=2,c=3 2\nbad\n\nm a=1,b=2\nm a=1,b=2,c=3 4")
	r := s.Scan(body, Nanosecond)
	if got, want := string(AppendSound(nil, body, r, Nanosecond, 9)), "m a=1 1\nm a=1,b=2 9\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzLimits: a line is refused for a limit if and only if it is beyond one.
func FuzzLimits(f *testing.F) {
	f.Add([]byte("m,a=1,b=2 v=1,w=\"a,b\" 1\nm v=1\n"), uint8(10), uint8(1), uint8(1), uint8(3), uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, line, tags, fields, key, value uint8) {
		limited := Scanner{Limits: Limits{Line: int(line), Tags: int(tags), Fields: int(fields), Key: int(key), TagValue: int(value)}}
		var free Scanner
		a, b := limited.Scan(body, Nanosecond), free.Scan(body, Nanosecond)
		refused := 0
		for _, bad := range a.Bad {
			if Limited(bad.Reason) {
				refused++
			}
		}
		if a.Lines+refused != b.Lines || len(a.Bad)-refused != len(b.Bad) {
			t.Fatalf("%q: %+v, without limits %+v", body, a, b)
		}
		beyond := 0
		for rest := body; ; {
			l, after, err := Cut(rest)
			if err != nil && len(after) == 0 {
				break
			}
			if rest = after; err == nil && beyondAny(l, &limited.Limits) {
				beyond++
			}
		}
		if line == 0 && len(b.Bad) == 0 && beyond != refused {
			t.Errorf("%q: %d lines are beyond %+v, %d are refused", body, beyond, limited.Limits, refused)
		}
	})
}

func beyondAny(l Line, limits *Limits) bool {
	over := func(n, limit int) bool { return limit > 0 && n > limit }
	tags, fields, beyond := 0, 0, over(len(l.Measurement), limits.Key)
	for rest := l.Tags; len(rest) > 0; tags++ {
		var k, v []byte
		k, v, rest = nextTag(rest)
		beyond = beyond || over(len(k), limits.Key) || over(len(v), limits.TagValue)
	}
	for rest := l.Fields; len(rest) > 0; fields++ {
		var k []byte
		k, _, rest = nextField(rest)
		beyond = beyond || over(len(k), limits.Key)
	}
	return beyond || over(tags, limits.Tags) || over(fields, limits.Fields)
}

func TestAuto(t *testing.T) {
	for stamp, want := range map[string]string{
		"0": "0", "1": "1000000000", "4999999999": "4999999999000000000", "5000000000": "5000000000000000",
		"1700000000": "1700000000000000000", "1700000000123": "1700000000123000000", "4999999999999": "4999999999999000000",
		"5000000000000": "5000000000000000", "1700000000123456": "1700000000123456000", "4999999999999999": "4999999999999999000",
		"5000000000000000": "5000000000000000", "1700000000123456789": "1700000000123456789", "-1": "-1000000000", "-1700000000123": "-1700000000123000000",
		"9223372036854775806": "9223372036854775806", "": "42",
	} {
		body := fmt.Appendf(nil, "m v=1 %s\n", stamp)
		var s Scanner
		r := s.Scan(body, Auto)
		if got := string(AppendSound(nil, body, r, Auto, 42)); got != "m v=1 "+want+"\n" {
			t.Errorf("%s: %q, want %s", stamp, got, want)
		}
	}
	if Auto.String() != "auto" || Auto.Duration() != 1 {
		t.Error(Auto, Auto.Duration())
	}
}
