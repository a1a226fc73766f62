package plugins

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// duration reads a duration as Telegraf's options have it: a number is seconds,
// a string is Go's notation with d for days, and an empty one is 0.
func duration(raw any) (time.Duration, error) {
	switch v := raw.(type) {
	case int64:
		return seconds(float64(v))
	case float64:
		return seconds(v)
	case string:
		if v == "" {
			return 0, nil
		}
		days, rest, ok := strings.Cut(v, "d")
		if n, err := strconv.ParseFloat(days, 64); ok && err == nil {
			whole, err := seconds(n * 24 * 60 * 60)
			if err != nil || rest == "" {
				return whole, err
			}
			part, err := time.ParseDuration(rest)
			return whole + part, err
		}
		return time.ParseDuration(v)
	}
	return 0, fmt.Errorf("not a duration: %v", raw)
}

func seconds(n float64) (time.Duration, error) {
	if math.IsNaN(n) || math.Abs(n) > math.MaxInt64/float64(time.Second) {
		return 0, fmt.Errorf("out of range: %v seconds", n)
	}
	return time.Duration(n * float64(time.Second)), nil
}
