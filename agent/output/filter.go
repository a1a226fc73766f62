package output

import "github.com/rpicluster/vitals/internal/line"

// filter returns what this output wants of lines, and how many those are:
// selected, shortened and renamed, in this order. Lines that pass as they are
// are not copied.
func (o *Output) filter(lines []byte, n int) (wanted []byte, left int) {
	o.mu.Lock()
	c := &o.config.Output
	rules := c.Filter
	edit := line.Edit{
		Name: c.NameOverride, Prefix: c.Prefix, Suffix: c.Suffix,
		KeepTag: rules.KeepTag(), KeepField: rules.KeepField(),
	}
	o.mu.Unlock()
	if rules == nil && edit.Name == "" && edit.Prefix == "" && edit.Suffix == "" {
		return lines, n
	}
	var text line.Text
	wanted = make([]byte, 0, len(lines))
	for len(lines) > 0 {
		l, rest, err := line.Cut(lines)
		lines = rest
		if err != nil { // the inputs have dropped those that are not sound
			continue
		}
		if rules.Selects(l, &text) {
			before := len(wanted)
			if wanted = edit.Append(wanted, l); len(wanted) > before {
				left++
			}
		}
	}
	if left < n {
		o.mu.Lock()
		o.counts.filtered += int64(n - left)
		o.mu.Unlock()
	}
	return wanted, left
}
