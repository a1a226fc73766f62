package execd

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

const (
	minBuffer Size = 1 << 10
	maxBuffer Size = 1 << 20
)

// units are Telegraf's, in any case: its sample has "64Kib", which it refuses.
var units = []struct {
	suffix string
	bytes  int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"kb", 1e3}, {"mb", 1e6}, {"b", 1},
}

// UnmarshalTOML takes a number of bytes, or one with its unit.
func (s *Size) UnmarshalTOML(value any) error {
	switch v := value.(type) {
	case int64:
		*s = Size(v)
		return nil
	case string:
		for _, u := range units {
			number, ok := strings.CutSuffix(strings.ToLower(v), u.suffix)
			if n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32); ok && err == nil {
				*s = Size(n * u.bytes)
				return nil
			}
		}
	}
	return fmt.Errorf(`expected a size such as "64KiB", not %v`, value)
}
