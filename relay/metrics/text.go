package metrics

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// text is Prometheus's text format, version 0.0.4. Its client library would make
// the relay a quarter larger.
type text struct{ bytes.Buffer }

// label is what tells one sample of a family from another.
type label struct{ name, value string }

var labelEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// family begins a metric; its samples follow.
func (t *text) family(name, kind, help string) {
	fmt.Fprintf(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (t *text) sample(name string, value float64, labels ...label) {
	t.WriteString(name)
	for i, l := range labels {
		t.WriteString([]string{"{", ","}[min(i, 1)])
		fmt.Fprintf(t, `%s="%s"`, l.name, labelEscapes.Replace(strings.ToValidUTF8(l.value, "\ufffd")))
	}
	if len(labels) > 0 {
		t.WriteByte('}')
	}
	t.WriteByte(' ')
	t.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	t.WriteByte('\n')
}

// one is a family of one sample.
func (t *text) one(name, kind, help string, value float64) {
	t.family(name, kind, help)
	t.sample(name, value)
}

func (t *text) histogram(name, help string, h *Histogram) {
	t.family(name, "histogram", help)
	count := int64(0)
	for i, bound := range bounds {
		count += h.buckets[i].Load()
		t.sample(name+"_bucket", float64(count), label{"le", strconv.FormatFloat(bound.Seconds(), 'g', -1, 64)})
	}
	count += h.buckets[len(bounds)].Load()
	t.sample(name+"_bucket", float64(count), label{"le", "+Inf"})
	t.sample(name+"_sum", float64(h.sum.Load())/1e9)
	t.sample(name+"_count", float64(count))
}
