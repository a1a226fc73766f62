package alert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Hours are times of the week, by the relay's local clock.
type Hours []span

// span is a time of day on some days. One that ends before it begins goes on
// into the next day.
type span struct {
	days       [7]bool
	begin, end int // minutes of the day
	text       string
}

// ParseHours reads times such as "Mon-Fri 22:00-06:00" and "13:00-14:00".
func ParseHours(texts []string) (Hours, error) {
	var hours Hours
	for _, text := range texts {
		s, err := parseSpan(text)
		if err != nil {
			return nil, err
		}
		hours = append(hours, s)
	}
	return hours, nil
}

func parseSpan(text string) (span, error) {
	s := span{text: text}
	bad := fmt.Errorf(`%q is not a time of the week; write it as "Mon-Fri 22:00-06:00", "Sat,Sun 00:00-24:00" or "13:00-14:00"`, text)
	words := strings.Fields(text)
	switch len(words) {
	case 1:
		s.days = [7]bool{true, true, true, true, true, true, true}
	case 2:
		if !s.readDays(words[0]) {
			return s, bad
		}
	default:
		return s, bad
	}
	from, to, _ := strings.Cut(words[len(words)-1], "-")
	begin, ok := minutes(from)
	end, also := minutes(to)
	if !ok || !also || begin == end || begin == 24*60 {
		return s, bad
	}
	s.begin, s.end = begin, end
	return s, nil
}

func (s *span) readDays(text string) bool {
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, last := weekday(from), weekday(to)
		if first < 0 || last < 0 {
			return false
		}
		for d := first; ; d = (d + 1) % 7 {
			s.days[d] = true
			if d == last {
				break
			}
		}
	}
	return true
}

// weekday is the number of a day's name, of which three letters will do; or -1.
func weekday(name string) int {
	return slices.IndexFunc([]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}, func(day string) bool {
		return len(name) >= 3 && strings.HasPrefix(day, strings.ToLower(name))
	})
}

func minutes(text string) (int, bool) {
	h, m, ok := strings.Cut(text, ":")
	hour, err := strconv.Atoi(h)
	minute, err2 := strconv.Atoi(m)
	n := 60*hour + minute
	return n, ok && err == nil && err2 == nil && len(m) == 2 && hour >= 0 && minute >= 0 && minute < 60 && n <= 24*60
}

// cover reports whether a moment is within the hours.
func (h Hours) cover(t time.Time) bool {
	now, day := 60*t.Hour()+t.Minute(), int(t.Weekday())
	return slices.ContainsFunc(h, func(s span) bool {
		if s.begin < s.end {
			return s.days[day] && now >= s.begin && now < s.end
		}
		return s.days[day] && now >= s.begin || s.days[(day+6)%7] && now < s.end
	})
}

// MarshalText writes a time as it was read.
func (s span) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText reads a time.
func (s *span) UnmarshalText(text []byte) (err error) {
	*s, err = parseSpan(string(text))
	return err
}
