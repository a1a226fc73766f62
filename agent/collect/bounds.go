package collect

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/line"
)

// bounds are what an input may answer: so many lines at once, and so many
// series in an hour, for a database keeps every series for ever.
type bounds struct {
	lines, series         int // 0: no bound
	manyLines, manySeries string
	seed                  maphash.Seed // so that nobody can aim at a series of another's
	known                 map[uint64]struct{}
	hour                  int64 // to which known belongs
}

func newBounds(in config.Input) *bounds {
	return &bounds{
		lines: in.MaxLines, series: in.MaxSeries, seed: maphash.MakeSeed(), known: map[uint64]struct{}{},
		manyLines:  fmt.Sprintf("more than %d lines in one answer; max_lines in the input's table is the bound", in.MaxLines),
		manySeries: fmt.Sprintf("more than %d series in an hour; max_series in the input's table is the bound", in.MaxSeries),
	}
}

// refuse says why the line that comes as number in its answer may not pass, and
// nothing if it may. Beyond the bound the series that are known still do.
func (b *bounds) refuse(number int, l line.Line, unixNano int64) string {
	if b.lines > 0 && number > b.lines {
		return b.manyLines
	}
	if b.series == 0 {
		return ""
	}
	if hour := unixNano / int64(time.Hour); hour != b.hour {
		clear(b.known)
		b.hour = hour
	}
	var h maphash.Hash
	h.SetSeed(b.seed)
	_, _ = h.Write(l.Measurement)
	_ = h.WriteByte(',')
	_, _ = h.Write(l.Tags)
	key := h.Sum64()
	if _, ok := b.known[key]; ok {
		return ""
	}
	if len(b.known) >= b.series {
		return b.manySeries
	}
	b.known[key] = struct{}{}
	return ""
}

// drops are the lines of one answer that were left out, by the reason.
type drops []drop

type drop struct {
	reason string
	first  []byte
	lines  int
}

func (d *drops) add(reason string, text []byte) {
	for i := range *d {
		if (*d)[i].reason == reason {
			(*d)[i].lines++
			return
		}
	}
	*d = append(*d, drop{reason, text, 1})
}

// maxBad bounds how many bad lines of one answer are looked at, for the scanner
// keeps account of each: one of four megabytes may hold two million.
const maxBad = 5000

// rest leaves out what the scanner has not read of body, and returns what it has.
func (d *drops) rest(body []byte, report line.Report) (read []byte) {
	end := report.Bad[len(report.Bad)-1].End
	_, rest, _ := bytes.Cut(body[end:], []byte("\n"))
	lines := bytes.Count(rest, []byte("\n"))
	if report.Unterminated {
		lines++
	}
	*d = append(*d, drop{fmt.Sprintf("they come after %d bad lines in one answer", maxBad), rest, lines})
	return body[:end]
}

// count is how many lines were left out.
func (d drops) count() (n int) {
	for _, one := range d {
		n += one.lines
	}
	return n
}
