package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Wish is what a job needs of a node.
type Wish struct {
	CPUs     float64 // whole CPUs' worth of time
	RAMBytes float64
}

// Place is a node as a place for a job.
type Place struct {
	Node string `json:"node"`
	// Fits says whether the job has room; Score is how much room would be left
	// in the scarcer of CPU and RAM, 0 (none) to 1. Places that fit come first,
	// the roomiest before the others.
	Fits  bool    `json:"fits"`
	Score float64 `json:"score"`
	// Reason says why, for people.
	Reason            string   `json:"reason"`
	FreeCPUs          *float64 `json:"free_cpus,omitempty"`
	RAMAvailableBytes *float64 `json:"ram_available_bytes,omitempty"`
}

// hot is the temperature in °C from which a node gets no more work: a Raspberry
// Pi slows down at 80.
const hot = 75

// placementSpan is the time over which the free CPUs are taken: a moment says
// little.
const placementSpan = 5 * time.Minute

// Placement ranks all nodes as places for a job.
func (v *View) Placement(w Wish) []Place {
	v.mu.Lock()
	through := v.lens()
	places := make([]Place, 0, len(v.records))
	for raw, r := range v.records {
		n := r.node(unescape(raw), through)
		places = append(places, n.place(w, mean(r.history[chiefCPU].since(through.now.Add(-placementSpan), through.now))))
	}
	v.mu.Unlock()
	slices.SortFunc(places, func(a, b Place) int {
		if a.Fits != b.Fits {
			if a.Fits {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Score, a.Score), strings.Compare(a.Node, b.Node))
	})
	return places
}

func mean(values []*float64) (m figure) {
	n := 0.0
	for _, v := range values {
		if v != nil {
			n++
			m.value += (*v - m.value) / n
		}
	}
	m.known = n > 0
	return m
}

// place judges a node; busy is its CPUs' use of late in percent.
func (n *Node) place(w Wish, busy figure) Place {
	p := Place{Node: n.Name, RAMAvailableBytes: n.freeRAM()}
	if busy.known && n.Cores != nil {
		free := *n.Cores * (1 - busy.value/100)
		p.FreeCPUs = &free
	}
	if why := n.unfit(p); why != "" {
		p.Reason = why
		return p
	}
	cpuLeft := (*p.FreeCPUs - w.CPUs) / max(*n.Cores, 1)
	ramLeft := *p.RAMAvailableBytes - w.RAMBytes
	if n.RAMTotalBytes != nil && *n.RAMTotalBytes > 0 {
		ramLeft /= *n.RAMTotalBytes
	}
	room := fmt.Sprintf("%.1f of %.0f CPUs free, %.0f MB of RAM available", *p.FreeCPUs, *n.Cores, *p.RAMAvailableBytes/1e6)
	switch {
	case cpuLeft < 0:
		p.Reason = "too few CPUs: " + room
	case ramLeft < 0:
		p.Reason = "too little RAM: " + room
	default:
		p.Fits, p.Score, p.Reason = true, clamp(min(cpuLeft, ramLeft), 0, 1), room
	}
	return p
}

// unfit says why a node gets no work whatever is free; empty if it may.
func (n *Node) unfit(p Place) string {
	switch {
	case n.State != Up:
		return "it is " + string(n.State)
	case len(n.Conflict) > 0:
		return "two machines write under this name"
	case len(n.Throttling) > 0:
		return "it is slowed down: " + strings.Join(n.Throttling, ", ")
	case n.TemperatureCelsius != nil && *n.TemperatureCelsius >= hot:
		return fmt.Sprintf("it is hot: %.0f °C", *n.TemperatureCelsius)
	case n.Cores == nil:
		return "how many CPUs it has is not known: it sends neither system nor node_info"
	case p.FreeCPUs == nil:
		return "its CPUs' use is not known"
	case p.RAMAvailableBytes == nil:
		return "its RAM is not known"
	}
	return ""
}

// freeRAM is what is available, or else what is not used.
func (n *Node) freeRAM() *float64 {
	if n.RAMAvailableBytes != nil || n.RAMTotalBytes == nil || n.RAMUsedBytes == nil {
		return n.RAMAvailableBytes
	}
	free := *n.RAMTotalBytes - *n.RAMUsedBytes
	return &free
}
