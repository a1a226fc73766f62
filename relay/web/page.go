package web

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

// dense is from how many nodes on cards are small.
const dense = 48

// page is what the templates show.
type page struct {
	Cards        []card
	Highlights   []highlight
	Counts       fleet.Counts
	Dense        bool
	EverySeconds int // how often the page looks again
	Status       Status
	Destinations []destination
	Kept         string
	Traffic      string
	Setup        setupText
}

// highlight is one figure of the whole fleet.
type highlight struct{ Label, Value, Node string }

// card is one node.
type card struct {
	Name, State, Seen, About string
	Title                    string // all facts
	Search                   string // what the filter looks in
	Meters                   []meter
	Spark, Area              string // the CPU's history in a box of 100 × 24, and what is below it
	SparkLevel               string
	Foot                     []string
}

// meter is one vital: a bar of Percent and a text.
type meter struct {
	Label, Value, Detail string
	Percent              float64
	Level                string // calm, warm or hot
	Known                bool
}

type destination struct {
	deliver.Status
	Waiting, Delivered, Word string
}

func (h *Handler) page() page {
	nodes, status := h.config.Fleet.Nodes(), h.config.Status()
	p := page{Counts: fleet.Count(nodes), Dense: len(nodes) > dense, EverySeconds: 2, Status: status}
	if len(nodes) > dense {
		p.EverySeconds = min(10, 2+len(nodes)/100)
	}
	rank := map[fleet.State]int{fleet.Down: 0, fleet.Late: 1, fleet.Up: 2}
	slices.SortStableFunc(nodes, func(a, b fleet.Node) int {
		return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), natural(a.Name, b.Name))
	})
	for i := range nodes {
		p.Cards = append(p.Cards, newCard(&nodes[i]))
	}
	p.Highlights = highlights(nodes)
	for _, d := range status.Destinations {
		p.Destinations = append(p.Destinations, newDestination(d, h.config.Now()))
	}
	p.Kept = byteText(float64(status.Queue.KeptBytes))
	p.Traffic = fmt.Sprintf("%s lines accepted since %s", count(status.Ingest.Lines), status.Started.Local().Format("2 Jan 15:04"))
	return p
}

func newCard(n *fleet.Node) card {
	c := card{
		Name: n.Name, State: string(n.State), Seen: ago(n.SecondsSinceSeen),
		About: about(n), Title: factList(n),
		Meters: []meter{cpuMeter(n), temperatureMeter(n), ramMeter(n), swapMeter(n)},
	}
	c.Spark, c.Area = sparkline(n.CPUHistory)
	c.SparkLevel = c.Meters[0].Level
	c.Search = strings.ToLower(strings.Join([]string{n.Name, c.State, n.Address, c.Title}, " "))
	if n.Address != "" {
		c.Foot = append(c.Foot, n.Address)
	}
	if up := uptime(n); up != "" {
		c.Foot = append(c.Foot, up)
	}
	if n.LinesPerMinute >= 0.5 {
		c.Foot = append(c.Foot, count(int64(math.Round(n.LinesPerMinute)))+" lines/min")
	}
	return c
}

func cpuMeter(n *fleet.Node) meter {
	m := meter{Label: "CPU"}
	m.percent(n.CPUPercent, 75, 90)
	if n.CPUMHz != nil {
		m.Detail = frequency(*n.CPUMHz)
	}
	return m
}

func ramMeter(n *fleet.Node) meter {
	m := meter{Label: "RAM"}
	m.percent(n.RAMPercent, 75, 90)
	m.bytes(n.RAMUsedBytes, n.RAMTotalBytes, n.RAMAvailableBytes)
	return m
}

func swapMeter(n *fleet.Node) meter {
	m := meter{Label: "Swap"}
	m.percent(n.SwapPercent, 50, 80)
	m.bytes(n.SwapUsedBytes, n.SwapTotalBytes, n.SwapFreeBytes)
	if n.SwapTotalBytes != nil && *n.SwapTotalBytes == 0 {
		m.Value, m.Detail = "none", ""
	}
	return m
}

// temperatureMeter spans 20 to 90 °C; a Raspberry Pi slows down at 80.
func temperatureMeter(n *fleet.Node) meter {
	m := meter{Label: "Temp"}
	if n.TemperatureCelsius == nil {
		m.Value = "–"
		return m
	}
	t := *n.TemperatureCelsius
	m.Known, m.Percent, m.Level = true, min(max((t-20)/0.7, 0), 100), level(t, 65, 75)
	m.Value, m.Detail = fmt.Sprintf("%.0f °C", t), n.TemperatureSensor
	return m
}

func (m *meter) percent(p *float64, warm, hot float64) {
	if p == nil {
		m.Value = "–"
		return
	}
	m.Known, m.Percent, m.Level, m.Value = true, min(max(*p, 0), 100), level(*p, warm, hot), fmt.Sprintf("%.0f %%", *p)
}

// bytes writes used of total, or what is free if nothing else is known.
func (m *meter) bytes(used, total, free *float64) {
	switch {
	case used != nil && total != nil:
		m.Detail = byteText(*used) + " of " + byteText(*total)
	case free != nil:
		m.Detail = byteText(*free) + " free"
	}
}

func level(v, warm, hot float64) string {
	switch {
	case v >= hot:
		return "hot"
	case v >= warm:
		return "warm"
	}
	return "calm"
}

// sparkline draws percentages into a box of 100 by 24, the newest at the right.
func sparkline(history []float32) (line, area string) {
	const points = 60
	if len(history) < 2 {
		return "", ""
	}
	first := 100 - float64(len(history)-1)*100/(points-1)
	var b strings.Builder
	for i, v := range history {
		x := first + float64(i)*100/(points-1)
		fmt.Fprintf(&b, " %.1f,%.1f", x, 23-float64(min(max(v, 0), 100))*0.22)
	}
	line = b.String()[1:]
	return line, fmt.Sprintf("%.1f,24 %s 100,24", first, line)
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
	}
	lines := 0.0
	for i := range nodes {
		lines += nodes[i].LinesPerMinute
	}
	return append(all, highlight{"Lines", count(int64(math.Round(lines))) + " a minute", ""})
}

func extreme(label string, nodes []fleet.Node, of func(*fleet.Node) *float64, format string) highlight {
	h, best := highlight{Label: label, Value: "–"}, math.Inf(-1)
	for i := range nodes {
		if v := of(&nodes[i]); v != nil && *v > best && nodes[i].State == fleet.Up {
			best, h.Value, h.Node = *v, fmt.Sprintf(format, *v), nodes[i].Name
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
