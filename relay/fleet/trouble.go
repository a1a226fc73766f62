package fleet

// Badges are what is worth a word about a node, the worst first.
func (n *Node) Badges() (texts []string) {
	if len(n.Conflict) > 0 {
		texts = append(texts, "name conflict")
	}
	texts = append(texts, n.Throttling...)
	if len(n.Failing()) > 0 {
		texts = append(texts, "collectors fail")
	}
	if n.diskFull() {
		texts = append(texts, "disk full")
	}
	if n.ClockSkewSeconds != nil {
		texts = append(texts, "clock differs")
	}
	if !n.RebootedAt.IsZero() {
		texts = append(texts, "rebooted")
	}
	if n.New {
		texts = append(texts, "new")
	}
	if n.Outdated {
		texts = append(texts, "outdated")
	}
	return texts
}

func (n *Node) diskFull() bool { return n.DiskPercent != nil && *n.DiskPercent >= 90 }

// Failing are the collectors that fail.
func (n *Node) Failing() (ids []string) {
	for _, c := range n.Collectors {
		if c.State == "failing" || c.State == "failed" {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// The ranks of nodes: what needs somebody first, what is out of service last.
const (
	RankDown = iota
	RankLate
	RankTrouble
	RankHot
	RankWell
	RankRetired
)

// Rank is how much a node needs somebody. Which figures are hot is for who shows
// them to say.
func (n *Node) Rank() int {
	switch {
	case n.State == Retired:
		return RankRetired
	case n.State == Down:
		return RankDown
	case n.State == Late:
		return RankLate
	case len(n.Conflict) > 0 || len(n.Throttling) > 0 || len(n.Failing()) > 0 || n.diskFull():
		return RankTrouble
	}
	return RankWell
}
