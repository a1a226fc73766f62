package line

import (
	"strings"
	"testing"
)

func TestEdit(t *testing.T) {
	tags := func(s ...string) (tags []Tag) {
		for _, kv := range s {
			k, v, _ := strings.Cut(kv, "=")
			tags = append(tags, Tag{k, v})
		}
		return tags
	}
	for _, c := range []struct {
		name string
		edit Edit
		line string
		want string
	}{
		{"nothing", Edit{}, `m,b\ c=1,a=2 f=1,g="x,y" 17`, `m,b\ c=1,a=2 f=1,g="x,y" 17`},
		{"stamp", Edit{TickUnixNano: 42}, "m f=1", "m f=1 42"},
		{"stamp is kept", Edit{TickUnixNano: 42}, "m f=1 17", "m f=1 17"},
		{"name", Edit{Name: "new name"}, `old\,m,a=1 f=1 17`, `new\ name,a=1 f=1 17`},
		{"prefix and suffix", Edit{Prefix: "p,", Suffix: " s"}, `m\,m f=1 17`, `p\,m\,m\ s f=1 17`},
		{"prefix, name and suffix", Edit{Prefix: "p_", Name: "n", Suffix: "_s"}, `m f=1 17`, `p_n_s f=1 17`},
		{"name of backslashes", Edit{Name: `\\`}, `m f=1 17`, `m f=1 17`},
		{"name with equals sign", Edit{Name: `a=b\`}, `m f=1 17`, `a=b f=1 17`},
		{"name that would be a comment", Edit{Name: "#1"}, `m f=1 17`, `\#1 f=1 17`},
		{"name with NUL first", Edit{Prefix: "\x00"}, `m f=1 17`, "\\\x00m f=1 17"},
		{"tag to a line without tags", Edit{Tags: tags("host=a")}, `m f=1 17`, `m,host=a f=1 17`},
		{"tag first", Edit{Tags: tags("a=0")}, `m,b=1,d=2 f=1 17`, `m,a=0,b=1,d=2 f=1 17`},
		{"tag between", Edit{Tags: tags("c=0")}, `m,b=1,d=2 f=1 17`, `m,b=1,c=0,d=2 f=1 17`},
		{"tag last", Edit{Tags: tags("e=0")}, `m,b=1,d=2 f=1 17`, `m,b=1,d=2,e=0 f=1 17`},
		{"tags all over", Edit{Tags: tags("a=0", "b=0", "c=0", "e=0")}, `m,b=1,d=2 f=1 17`, `m,a=0,b=1,c=0,d=2,e=0 f=1 17`},
		{"tag to unsorted tags", Edit{Tags: tags("c=0", "d=0")}, `m,d=1,b=2 f=1 17`, `m,d=1,b=2,c=0 f=1 17`},
		{"tag that is there", Edit{Tags: tags("b=0")}, `m,b=1 f=1 17`, `m,b=1 f=1 17`},
		{"escaped tag that is there", Edit{Tags: tags("a b=0")}, `m,a\ b=1 f=1 17`, `m,a\ b=1 f=1 17`},
		{"tag given twice", Edit{Tags: tags("a=1", `a\=2`, "a=3")}, `m f=1 17`, `m,a=1 f=1 17`},
		{"tags without key or value", Edit{Tags: []Tag{{"", "x"}, {"a", ""}, {`\`, "x"}, {"b", `\`}}}, `m f=1 17`, `m f=1 17`},
		{"escapes", Edit{Tags: []Tag{{"a b,c=d", "e f,g=h"}}}, `m f=1 17`, `m,a\ b\,c\=d=e\ f\,g\=h f=1 17`},
		{"control characters", Edit{Tags: []Tag{{"a\tb", "c\nd\re\ff"}}}, `m f=1 17`, `m,a\tb=c\nd\re\ff f=1 17`},
		{"backslashes", Edit{Tags: []Tag{{"a", `C:\dir\ x\\`}}}, `m f=1 17`, `m,a=C:\dir\ x f=1 17`},
		{"quote behind an odd escape", Edit{Tags: tags(`z="`)}, `m\\ b=c f=1`, `m\\ b=c f=1 0`},
		{"tag behind an odd escape", Edit{Tags: tags(`z=1`)}, `m\\ b=c f=1`, `m\\ b=c,z=1 f=1 0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.edit.Append([]byte("x"), cutOne(t, c.line))
			if string(got) != "x"+c.want+"\n" {
				t.Errorf("got  %q\nwant %q", got[1:], c.want+"\n")
			}
			agree(t, got[1:], Nanosecond)
		})
	}
}

func TestEditAllocatesNothing(t *testing.T) {
	e := Edit{Prefix: "p_", Tags: []Tag{{"cluster", "north"}, {"zone", "a b"}}}
	l := cutOne(t, "m,host=a f=1")
	dst := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(20, func() { e.Append(dst, l) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWithout(t *testing.T) {
	tests := []struct{ in, key, want string }{
		{"m,a=1,b=2,c=3 f=1 5", "b", "m,a=1,c=3 f=1 5\n"},
		{"m,a=1,b=2 f=1 5", "a", "m,b=2 f=1 5\n"},
		{"m,a=1 f=1 5", "a", "m f=1 5\n"},
		{"m,a=1 f=1 5", "x", "m,a=1 f=1 5\n"},
		{`m,a\ b=1,c=x\,y f="a,b=1" 5`, "a b", `m,c=x\,y f="a,b=1" 5` + "\n"},
		{`m,ab=1,a=2 f=1 5`, "a", "m,ab=1 f=1 5\n"},
		{"m f=1 5", "a", "m f=1 5\n"},
	}
	for _, tt := range tests {
		l, _, err := Cut([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		if got := string((&Edit{}).Append(nil, l.Without(tt.key))); got != tt.want {
			t.Errorf("%s without %s: %q, want %q", tt.in, tt.key, got, tt.want)
		}
	}
}
