package line

// Scanner scans bodies. It is for one goroutine at a time and meant to be
// reused: on sound input it allocates nothing. Its zero value is ready.
type Scanner struct {
	// MaxBad, if not 0, is the number of unsound lines after which a scan is
	// given up: a body may be made of nothing else.
	MaxBad int
	// Limits make lines unsound that InfluxDB would take.
	Limits Limits

	parser parser
	bad    []Bad
	text   Text
}

// Report is what a scan found.
type Report struct {
	Lines        int   // sound lines
	Unstamped    int   // sound lines without a timestamp
	Bad          []Bad // unsound lines in order; valid until the next Scan
	GivenUp      bool  // there are more than MaxBad unsound lines, and the rest was not read
	Unterminated bool  // the body's last byte is not '\n' (false for an empty body)

	// Foreign counts the lines of nodes that are not allowed, whether they are
	// tolerated or among the bad ones. Stranger is the node of the first, as it
	// stands in the body; empty if that names none.
	Foreign  int
	Stranger []byte
}

// Bad is an unsound line: body[Start:End] is its text as InfluxDB quotes it,
// without leading space and without the newline. Reason is worded as InfluxDB
// 1.x words it, unless Stricter or Limited says otherwise.
type Bad struct {
	Start, End int
	Reason     string
}

// Scan checks every line of body as InfluxDB 1.x would check it when it is
// written with precision p. Two bodies without bad lines, each ending in a
// newline, may be joined: the scan of the whole is the sum of the scans.
func (s *Scanner) Scan(body []byte, p Precision) Report { return s.ScanNodes(body, p, nil) }

// ScanNodes is Scan that also checks whose lines they are; nil allows any.
func (s *Scanner) ScanNodes(body []byte, p Precision, nodes *Nodes) Report {
	s.bad = s.bad[:0]
	s.parser.setLimit(p.limit())
	s.parser.named = nodes != nil
	keyRoom, lineRoom := s.Limits.room()
	at := &s.parser.at
	var last verdict
	r := Report{Unterminated: len(body) > 0 && body[len(body)-1] != '\n'}
	for i := 0; i < len(body); {
		next, what, reason := s.parser.line(body, i)
		if what == sound && (at.key-at.start > keyRoom || at.end-at.start > lineRoom) {
			if reason = s.Limits.exceeded(body, at); reason != "" {
				what = unsound
			}
		}
		if nodes != nil && what == sound {
			if reason = s.foreign(body, nodes, &last); reason != "" {
				r.addForeign(body[at.node:at.nodeEnd])
				if !nodes.Tolerate {
					what = unsound
				}
			}
		}
		switch what {
		case sound:
			r.Lines++
			if at.stamp == at.stampEnd {
				r.Unstamped++
			}
		case unsound:
			if s.MaxBad > 0 && len(s.bad) == s.MaxBad {
				r.Bad, r.GivenUp = s.bad, true
				return r
			}
			s.bad = append(s.bad, Bad{at.start, at.end, reason})
		}
		i = next
	}
	r.Bad = s.bad
	return r
}

func (r *Report) addForeign(node []byte) {
	if r.Foreign++; r.Foreign == 1 {
		r.Stranger = node
	}
}
