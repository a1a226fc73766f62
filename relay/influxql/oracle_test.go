package influxql

import (
	"math/rand/v2"
	"strings"
	"testing"

	reference "github.com/influxdata/influxql"
)

// parsed is a text as InfluxDB itself reads it: whether it is InfluxQL, and
// whether it only reads.
func parsed(text string) (valid, reads bool) {
	p := reference.NewParser(strings.NewReader(text))
	p.SetParams(map[string]any{"in": 1, "from": "by", "re": map[string]any{"regex": "a"}})
	q, err := p.ParseQuery()
	if err != nil {
		return false, false
	}
	for _, s := range q.Statements {
		if e, ok := s.(*reference.ExplainStatement); ok {
			s = e.Statement
		}
		if s, ok := s.(*reference.SelectStatement); ok && s.Target == nil {
			continue
		}
		if !strings.HasPrefix(s.String(), "SHOW ") {
			return true, false
		}
	}
	return true, true
}

func checkAgainstInfluxDB(t *testing.T, text string) {
	valid, reads := parsed(text)
	if ok, _ := Reads(text); ok && valid && !reads {
		t.Errorf("%q does more than read", text)
	}
}

func FuzzReadsAgainstInfluxDB(f *testing.F) {
	f.Add("SELECT v FROM m WHERE a =~ /b/; DROP DATABASE x")
	f.Fuzz(checkAgainstInfluxDB)
}

// TestReadsAgainstInfluxDB puts statements together from what might be read in two
// ways, with something behind that does more than read.
func TestReadsAgainstInfluxDB(t *testing.T) {
	words := func(text string) []string { return strings.Split(text, "|") }
	operands := words(`v|1|1.|.5|2.5|1h|$in|$from|'a'|'\\'|'\''|"b"|"\""|(v)|f(v)|true|/a/|/\//|/\\/|/'/|/"/|/\\//|/\\'/|/\d/`)
	operators := words("/| / | / |*| + | > | =~ | !~ | and | and v > ")
	gaps := words(" | | |--\n|--'\n|--\r|--\r\n|--\x00|/**/|/*'*/|/***/|\t|/")
	clauses := words(" FROM m WHERE a = | FROM m WHERE a > | FROM m WHERE a =~ |, | FROM d.r.|INTO x FROM m WHERE a > | INTO x FROM m WHERE a > | FROM m GROUP BY | WHERE a !~ ")
	ends := words(";| ; |; SELECT v FROM m;")
	closers := words("| --'| --/| --\"| /* */| --*/")
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(of []string) string { return of[r.IntN(len(of))] }
	for range 100_000 {
		text := "SELECT v*" + pick(operands)
		for range 1 + r.IntN(3) {
			text += pick([]string{pick(operators), pick(clauses)}) + pick(operands)
		}
		text += pick(gaps) + pick(ends) + "DROP DATABASE x" + pick(closers)
		if r.IntN(4) == 0 {
			at := r.IntN(len(text))
			text = text[:at] + pick(gaps) + text[at:]
		}
		if checkAgainstInfluxDB(t, text); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
