package execd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// whole runs a stream through lines in pieces of n bytes.
func whole(text string, n, max int) (got, bad string) {
	var reasons []string
	l := &lines{max: max, now: func() time.Time { return time.Unix(0, 7) }, bad: func(line []byte, why string) {
		reasons = append(reasons, fmt.Sprintf("%q: %s", line, why))
	}}
	var b strings.Builder
	for len(text) > 0 {
		piece := text[:min(n, len(text))]
		text = text[len(piece):]
		b.Write(l.add([]byte(piece)))
	}
	b.Write(l.rest())
	return b.String(), strings.Join(reasons, "\n")
}

func TestLines(t *testing.T) {
	f := func(name, text, want, wantBad string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			for _, n := range []int{1, 2, 3, 7, len(text) + 1} {
				got, bad := whole(text, n, 64)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("pieces of %d: %s", n, diff)
				}
				if diff := cmp.Diff(wantBad, bad); diff != "" {
					t.Errorf("pieces of %d: %s", n, diff)
				}
			}
		})
	}
	f("nothing", "", "", "")
	f("blank lines and comments", "\n \n\r\n# a \"b=\"\n#x=\" \n  # c\n", "", "")
	f("stamped", "m v=1 5\nm,a=b v=1i,w=t -5\n", "m v=1 5\nm,a=b v=1i,w=t -5\n", "")
	f("unstamped", "m v=1\nm,a=b v=1i,w=\"x y\"\n", "m v=1 7\nm,a=b v=1i,w=\"x y\" 7\n", "")
	f("no newline at the end", "m v=1\nn v=2", "m v=1 7\nn v=2 7\n", "")
	f("carriage returns", "m v=1\r\nm v=1 5\r\n", "m v=1 7\nm v=1 5\n", "")
	f("blanks", "  m  v=1  \n\tm v=1  5 \n", "  m  v=1 7\n\tm v=1  5\n", "")
	f("newlines in strings", "m s=\"a\n\nb c\",t=\"\n\" 5\nn v=1\n", "m s=\"a\n\nb c\",t=\"\n\" 5\nn v=1 7\n", "")
	f("quotes in strings", `m s="a\"b \\" 5`+"\n"+`m s="\\\"`+"\n"+`"`+"\n", `m s="a\"b \\" 5`+"\n"+`m s="\\\"`+"\n"+`" 7`+"\n", "")
	f("quotes in names and tags", `m"x,a=" v=1`+"\nn v=2\n", `m"x,a=" v=1 7`+"\nn v=2 7\n", "")
	f("escaped blanks", `m\ x,a=b\ c f\ g=1`+"\n"+`m f\ g=1 5`+"\n", `m\ x,a=b\ c f\ g=1 7`+"\n"+`m f\ g=1 5`+"\n", "")
	f("no fields", "m\nm,a=b\n", "m\nm,a=b\n", "")
	f("too many words", "m v=1 5 6\n", "m v=1 5 6\n", "")
	f("a backslash at the end", "m v=1\\\nn v=1\n", "n v=1 7\n", `"m v=1\\": it ends in a backslash`)
	f("a quote left open at the end", "m s=\"a\nn v=1\nn v=2 5\n", "n v=1 7\nn v=2 5\n", `"m s=\"a": a quote is opened and not closed`)
}

func TestALineThatIsTooLong(t *testing.T) {
	f := func(text, want, wantBad string) {
		t.Helper()
		for _, n := range []int{1, 2, 5, 17, 20, len(text)} {
			got, bad := whole(text, n, 16)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("pieces of %d: %s", n, diff)
			}
			if diff := cmp.Diff(wantBad, bad); diff != "" {
				t.Errorf("pieces of %d: %s", n, diff)
			}
		}
	}
	f("m v=1\nm v=1000000000000 5\nn v=1\n", "m v=1 7\nn v=1 7\n", `"m v=100000000000": longer than buffer_size`)
	f("m v=100000000 5\nm v=1000000000 5\nn v=1\n", "m v=100000000 5\nm v=1000000000 5\nn v=1 7\n", "")
	f("m s=\"abcdefghijklmnop\nn v=1\n\" 5\n", "n v=1 7\n\" 5 7\n", `"m s=\"abcdefghijk": longer than buffer_size`)
	f("m s=\"\nn v=1\nn v=2\nn v=3\n", "n v=1 7\nn v=2 7\nn v=3 7\n", `"m s=\"": longer than buffer_size`)
}

// FuzzLines: however a stream is cut, the lines are the same, and no bytes but
// blanks, comments and what is reported as bad are lost.
func FuzzLines(f *testing.F) {
	f.Add("m s=\"a\nb\" 5\nn v=1\n", 3)
	f.Add("m s=\"a\\\"\nb\\\\\" 5\r\n#\nn v=1\\\n", 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = max(1, n%100)
		one, bad := whole(text, len(text)+1, 1<<20)
		other, otherBad := whole(text, n, 1<<20)
		if one != other || bad != otherBad {
			t.Errorf("%q and %q, bad %q and %q", one, other, bad, otherBad)
		}
		if len(one) > 0 && one[len(one)-1] != '\n' {
			t.Errorf("%q is not ended", one)
		}
	})
}
