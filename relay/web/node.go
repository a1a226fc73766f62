package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/relay/fleet"
)

// nodePage is what the page of one node shows.
type nodePage struct {
	Card       card
	Client     string
	Conflict   string
	Skew       string
	Facts      []fact
	Tags       string
	Token      string
	Collectors []fleet.Collector
	Events     []event
	Rhythm     string
	Disk       meter
	Load       string
	NowMillis  int64
	NoSwap     bool // it has none: a chart of it would be empty
}

// fact is something that is known of a node, for people.
type fact struct{ Name, Value string }

// maxNodeEvents is how many events the page of a node tells.
const maxNodeEvents = 30

func (h *Handler) nodePage(name string) (nodePage, error) {
	n, err := h.config.Fleet.Node(name)
	if err != nil {
		return nodePage{}, err
	}
	p := nodePage{
		Card: newCard(&n, large), Client: n.Client, Conflict: strings.Join(n.Conflict, " and "), Facts: facts(&n), Tags: tagText(n.Tags),
		Token: n.Token, Collectors: n.Collectors, Events: h.recent(name, maxNodeEvents),
		Rhythm: fmt.Sprintf("every %s s", digits(n.IntervalSeconds)), Disk: diskMeter(&n), NowMillis: h.nowMillis(),
	}
	if n.ClockSkewSeconds != nil {
		p.Skew = skewText(*n.ClockSkewSeconds)
	}
	if n.Load1 != nil {
		p.Load = fmt.Sprintf("load %.2f", *n.Load1)
	}
	p.NoSwap = n.SwapTotalBytes != nil && *n.SwapTotalBytes == 0
	return p, nil
}

func diskMeter(n *fleet.Node) meter {
	m := meter{Label: "Disk"}
	m.percent(n.DiskPercent, 80, 90)
	m.bytes(n.DiskUsedBytes, n.DiskTotalBytes, nil)
	if n.DiskPath != "" {
		m.Detail = n.DiskPath + " " + m.Detail
	}
	return m
}

// skewText says how a clock differs. Lines that wait look like a clock that is
// behind.
func skewText(seconds float64) string {
	if seconds > 0 {
		return fmt.Sprintf("Its clock is ahead by %s.", span(seconds))
	}
	return fmt.Sprintf("Its clock is behind by %s, or it brings away what it could not send.", span(-seconds))
}

// span is a time as people say it.
func span(seconds float64) string {
	switch {
	case seconds < 90:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 90*60:
		return fmt.Sprintf("%.0f min", seconds/60)
	case seconds < 48*3600:
		return fmt.Sprintf("%.0f h", seconds/3600)
	}
	return fmt.Sprintf("%.0f days", seconds/86400)
}

// facts are what is known of a node, by name.
func facts(n *fleet.Node) (list []fact) {
	for name, value := range n.Facts {
		if !shown[name] {
			list = append(list, fact{strings.ReplaceAll(name, "_", " "), fmt.Sprint(value)})
		}
	}
	slices.SortFunc(list, func(a, b fact) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// nodeHTML is the part of a node's page that changes.
func (h *Handler) nodeHTML(name string) (string, error) {
	p, err := h.nodePage(name)
	if err != nil {
		return "", err
	}
	p.Card.Seen = "" // the page counts itself
	return h.board.render("node-live.html", p)
}

func (h *Handler) serveNodePage(w http.ResponseWriter, r *http.Request) {
	p, err := h.nodePage(r.PathValue("name"))
	if err != nil {
		h.render(w, r, http.StatusNotFound, "missing.html", r.PathValue("name"))
		return
	}
	h.render(w, r, http.StatusOK, "node.html", p)
}
