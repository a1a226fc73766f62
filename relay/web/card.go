package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/relay/fleet"
)

// card is one node on the overview.
type card struct {
	order
	State, Seen, About string
	URL                string   // of the node's own page
	SeenMillis         int64    // since 1970
	Badges             []string // what is worth a word besides the state
	Title              string   // all facts
	Search             string   // what the filter looks in
	Tags               string   // JSON, for grouping
	Meters             []meter
	Spark, Area        string // the CPU's history in a box of 100 × 24, and what is below it
	SparkLevel         string
	Foot               []string
	Size               size
}

// order is where a card's place is among the others: trouble first.
type order struct {
	Rank int // trouble has low ones
	Name string
}

func (o order) compare(p order) int {
	return cmp.Or(cmp.Compare(o.Rank, p.Rank), natural(o.Name, p.Name))
}

// size is how much room a card takes.
type size string

// The sizes, by how many nodes there are: a screen shall hold 200.
const (
	large size = ""
	dense size = "dense"
	tiny  size = "tiny"

	denseFrom = 48
	tinyFrom  = 120
)

func sizeFor(nodes int) size {
	switch {
	case nodes > tinyFrom:
		return tiny
	case nodes > denseFrom:
		return dense
	}
	return large
}

// meter is one vital: a bar of Percent and a text.
type meter struct {
	Label, Value, Detail string
	Percent              float64
	Level                string // calm, warm or hot
	Known                bool
}

func newCard(n *fleet.Node, s size) card {
	c := card{
		order: orderOf(n), State: string(n.State), Seen: ago(n.SecondsSinceSeen), SeenMillis: n.LastSeen.UnixMilli(),
		URL: nodeURL(n.Name), Badges: n.Badges(), About: about(n), Size: s,
		Meters: meters(n),
	}
	c.Search = strings.ToLower(strings.Join([]string{n.Name, c.State, n.Address, c.About, strings.Join(c.Badges, " "), tagText(n.Tags)}, " "))
	if len(n.Tags) > 0 {
		text, _ := json.Marshal(n.Tags) // strings can be written
		c.Tags = string(text)
	}
	if s != large {
		for i := range c.Meters {
			c.Meters[i].Detail = "" // there is no room for it
		}
		return c
	}
	c.Title = factList(n)
	c.Spark, c.Area = sparkline(n.CPUHistory)
	c.SparkLevel = c.Meters[0].Level
	c.Foot = foot(n)
	return c
}

// foot is what a card tells in small print.
func foot(n *fleet.Node) (texts []string) {
	if n.Address != "" {
		texts = append(texts, n.Address)
	}
	if up := uptime(n); up != "" {
		texts = append(texts, up)
	}
	if n.DiskPercent != nil {
		texts = append(texts, fmt.Sprintf("%s %.0f %% full", n.DiskPath, *n.DiskPercent))
	}
	if n.LinesPerMinute >= 0.5 {
		texts = append(texts, count(int64(math.Round(n.LinesPerMinute)))+" lines/min")
	}
	return texts
}

func nodeURL(name string) string { return "/nodes/" + url.PathEscape(name) }

// orderOf sorts the nodes: what needs somebody first.
func orderOf(n *fleet.Node) order {
	o := order{n.Rank(), n.Name}
	if o.Rank == fleet.RankWell && slices.ContainsFunc(meters(n), func(m meter) bool { return m.Level == "hot" }) {
		o.Rank = fleet.RankHot
	}
	return o
}

// tagText are tags as people write them.
func tagText(tags map[string]string) string {
	var pairs []string
	for key, value := range tags {
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, " ")
}

func meters(n *fleet.Node) []meter {
	return []meter{cpuMeter(n), temperatureMeter(n), ramMeter(n), swapMeter(n)}
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
