package web

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

// overview is what the first page shows.
type overview struct {
	Cards   []card
	More    int // cards that are not among them: the stream brings them
	Size    size
	Version string // of the board: the stream of changes goes on from there
	Summary summary
	Setup   setupText
	Checked bool   // a new node needs a token
	Pin     string // of the relay's key; empty: a new node needs none
}

// summary is what the overview tells besides the nodes.
type summary struct {
	Alarms     []string
	Notes      []string
	Alerts     alerts
	Counts     fleet.Counts
	Highlights []highlight
	Any        bool // a node has written
	Events     []event
	Trouble    []destination // destinations that do not take writes
	NowMillis  int64
}

// event is something that happened, as the page tells it.
type event struct {
	Node, URL, Kind, Text string
	When                  string // for who has no script
	Millis                int64
}

// highlight is one figure of the whole fleet.
type highlight struct{ Label, Value, Node, URL string }

type destination struct {
	deliver.Status
	Waiting, Delivered, Word string
}

// atOnce is how many cards the page itself has. With more it would be long in
// coming, and longer in being drawn.
const atOnce = 240

// overview is the first page, with all cards for who has no script.
func (h *Handler) overview(all bool) (overview, error) {
	version, err := h.board.at()
	if err != nil {
		return overview{}, err
	}
	nodes := h.config.Fleet.Nodes()
	o := overview{Size: sizeFor(len(nodes)), Version: versionText(h.board.epoch, version), Summary: h.summary(nodes)}
	orders := make(map[string]order, len(nodes))
	for i := range nodes {
		orders[nodes[i].Name] = orderOf(&nodes[i])
	}
	slices.SortFunc(nodes, func(a, b fleet.Node) int { return orders[a.Name].compare(orders[b.Name]) })
	if len(nodes) > atOnce && !all {
		nodes, o.More = nodes[:atOnce], len(nodes)-atOnce
	}
	for i := range nodes {
		o.Cards = append(o.Cards, newCard(&nodes[i], o.Size))
	}
	return o, nil
}

// maxRecent is how many events the overview tells.
const maxRecent = 8

func (h *Handler) summary(nodes []fleet.Node) summary {
	status := h.config.Status()
	s := summary{
		Alarms: status.Alarms, Notes: status.Notes, Alerts: h.alerts(maxFiring), Counts: fleet.Count(nodes), Highlights: highlights(nodes), Any: len(nodes) > 0,
		Events: h.recent("", maxRecent), NowMillis: h.nowMillis(),
	}
	for _, d := range status.Destinations {
		if d.State != deliver.Delivering {
			s.Trouble = append(s.Trouble, newDestination(d, h.config.Now()))
		}
	}
	return s
}

// nowMillis is what the relay's clock shows. Ages on a page are by it, so that they
// are right wherever the viewer's own clock is.
func (h *Handler) nowMillis() int64 { return h.config.Now().Truncate(10 * time.Second).UnixMilli() }

// recent are the last events, the newest first; of one node if one is named.
func (h *Handler) recent(node string, n int) (list []event) {
	events, _ := h.config.Fleet.Events(0)
	for i := len(events) - 1; i >= 0 && len(list) < n; i-- {
		e := events[i]
		if node != "" && e.Node != node {
			continue
		}
		list = append(list, event{
			Node: e.Node, URL: nodeURL(e.Node), Kind: string(e.Kind), Text: e.Text,
			When: e.Time.Local().Format("2 Jan 15:04"), Millis: e.Time.UnixMilli(),
		})
	}
	return list
}

// highlights are the extremes among the nodes that are up.
func highlights(nodes []fleet.Node) []highlight {
	if len(nodes) == 0 {
		return nil
	}
	all := []highlight{
		extreme("Hottest", nodes, func(n *fleet.Node) *float64 { return n.TemperatureCelsius }, "%.0f °C"),
		extreme("Busiest", nodes, func(n *fleet.Node) *float64 { return n.CPUPercent }, "%.0f %% CPU"),
		extreme("Fullest", nodes, func(n *fleet.Node) *float64 { return n.RAMPercent }, "%.0f %% RAM"),
		extreme("Most idle", nodes, idle, "%.0f %% free"),
	}
	lines := 0.0
	for i := range nodes {
		lines += nodes[i].LinesPerMinute
	}
	return append(all, highlight{Label: "Lines", Value: count(int64(math.Round(lines))) + " a minute"})
}

// idle is how little a node has to do, in percent of its scarcer resource.
func idle(n *fleet.Node) *float64 {
	if n.CPUPercent == nil || n.RAMPercent == nil || len(n.Conflict) > 0 {
		return nil
	}
	room := 100 - max(*n.CPUPercent, *n.RAMPercent)
	return &room
}

func extreme(label string, nodes []fleet.Node, of func(*fleet.Node) *float64, format string) highlight {
	h, best := highlight{Label: label, Value: "–"}, math.Inf(-1)
	for i := range nodes {
		if v := of(&nodes[i]); v != nil && *v > best && nodes[i].State == fleet.Up {
			best, h.Value, h.Node, h.URL = *v, fmt.Sprintf(format, *v), nodes[i].Name, nodeURL(nodes[i].Name)
		}
	}
	return h
}

func newDestination(s deliver.Status, now time.Time) destination {
	d := destination{Status: s, Word: "delivering", Waiting: "nothing waits", Delivered: count(s.Lines)}
	switch s.State {
	case deliver.Failing:
		d.Word = "not reachable"
	case deliver.Held:
		d.Word = "needs you"
	}
	if b := s.Backlog; b.Bytes > 0 || b.Lines > 0 {
		d.Waiting = fmt.Sprintf("%s lines, %s", count(b.Lines), byteText(float64(b.Bytes)))
		if !b.Oldest.IsZero() {
			d.Waiting += ", oldest " + ago(now.Sub(b.Oldest).Seconds())
		}
	}
	return d
}

// setupText says how to add a node.
type setupText struct {
	URL      string
	Loopback bool // only this machine reaches the relay
	Listen   string
	Port     string // the relay's own
}

// setup takes the address from how the page itself was reached; if that means
// nothing on other machines, from the name of this one.
func setup(host, listen string, hostname func() (string, error)) setupText {
	name, port := splitHost(host)
	address, own := splitHost(listen)
	s := setupText{URL: "http://" + host, Listen: listen, Port: own, Loopback: isLoopback(address)}
	if s.Port == "" || s.Port == "0" { // the system has chosen one
		s.Port = port
	}
	if !isLoopback(name) {
		return s
	}
	if mine, err := hostname(); err == nil && mine != "" && !isLoopback(mine) {
		s.URL = "http://" + mine
		if port != "" {
			s.URL += ":" + port
		}
	}
	return s
}

// splitHost parts an address from its port, if it has one.
func splitHost(host string) (name, port string) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return strings.Trim(host, "[]"), ""
	}
	return name, port
}

func isLoopback(name string) bool {
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}
