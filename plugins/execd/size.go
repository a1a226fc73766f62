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

// units are Telegraf's.
var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"B", 1},
}

// UnmarshalTOML takes a number of bytes, or one with its unit.
func (s *Size) UnmarshalTOML(value any) error {
	switch v := value.(type) {
	case int64:
		*s = Size(v)
		return nil
	case string:
		for _, u := range units {
			number, ok := strings.CutSuffix(v, u.suffix)
			if n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32); ok && err == nil {
				*s = Size(n * u.bytes)
				return nil
			}
		}
	}
	return fmt.Errorf(`expected a size such as "64KiB", not %v`, value)
}
