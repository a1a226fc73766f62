package fleet

import "time"

// State is what a node's silence means, judged by its own rhythm.
type State string

// The states of a node.
const (
	Up   State = "up"
	Late State = "late" // silent for longer than its rhythm explains
	Down State = "down"
)

// Node is one machine as its last lines show it. A vital that the node has not
// sent is absent (nil), never zero. The JSON form is what /api/nodes answers.
type Node struct {
	// Name is the tag host of its lines, else the tag node.
	Name  string `json:"name"`
	State State  `json:"state"`
	// LastSeen is when its last lines arrived, by the relay's clock.
	LastSeen         time.Time `json:"last_seen"`
	SecondsSinceSeen float64   `json:"seconds_since_seen"`
	// IntervalSeconds is its rhythm: the time between two arrivals.
	IntervalSeconds float64 `json:"interval_seconds"`
	// Address is where its last lines came from.
	Address string `json:"address,omitempty"`
	// Lines is how many have arrived since the relay started; under heavy
	// load, when lines are sampled, an estimate.
	Lines          int64   `json:"lines"`
	LinesPerMinute float64 `json:"lines_per_minute"`

	CPUPercent *float64 `json:"cpu_percent,omitempty"` // 0 to 100, all CPUs together
	CPUMHz     *float64 `json:"cpu_mhz,omitempty"`     // now

	RAMUsedBytes      *float64 `json:"ram_used_bytes,omitempty"`
	RAMAvailableBytes *float64 `json:"ram_available_bytes,omitempty"`
	RAMTotalBytes     *float64 `json:"ram_total_bytes,omitempty"`
	RAMPercent        *float64 `json:"ram_percent,omitempty"` // used, 0 to 100

	SwapUsedBytes  *float64 `json:"swap_used_bytes,omitempty"`
	SwapFreeBytes  *float64 `json:"swap_free_bytes,omitempty"`
	SwapTotalBytes *float64 `json:"swap_total_bytes,omitempty"`
	SwapPercent    *float64 `json:"swap_percent,omitempty"` // used, 0 to 100

	TemperatureCelsius *float64 `json:"temperature_celsius,omitempty"`
	// TemperatureSensor is which of the node's sensors that is: the CPU's
	// hottest, else the hottest of all.
	TemperatureSensor string `json:"temperature_sensor,omitempty"`

	// Facts are the fields of its last node_info line.
	Facts map[string]any `json:"facts,omitempty"`

	// CPUHistory are the last readings of CPUPercent, oldest first.
	CPUHistory []float32 `json:"-"`
}

// Counts is how many nodes are in each state.
type Counts struct {
	Up   int `json:"up"`
	Late int `json:"late"`
	Down int `json:"down"`
}

// Count counts nodes by their state.
func Count(nodes []Node) Counts {
	var c Counts
	for i := range nodes {
		switch nodes[i].State {
		case Up:
			c.Up++
		case Late:
			c.Late++
		default:
			c.Down++
		}
	}
	return c
}
