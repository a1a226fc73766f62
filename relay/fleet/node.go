package fleet

import "time"

// State is what a node's silence means, judged by its own rhythm.
type State string

// The states of a node.
const (
	Up   State = "up"
	Late State = "late" // silent for longer than its rhythm explains
	Down State = "down"
	// Retired is one that somebody has taken out of service.
	Retired State = "retired"
)

const (
	newFor      = 10 * time.Minute // how long a node is new
	rebootedFor = 10 * time.Minute // … and how long one is shown as rebooted
)

// Node is one machine as its last lines show it. A vital that the node has not
// sent is absent (nil), never zero. The JSON form is what /api/nodes answers.
type Node struct {
	// Name is the tag host of its lines, else the tag node.
	Name  string `json:"name"`
	State State  `json:"state"`
	// New is a node that wrote for the first time a short while ago.
	New bool `json:"new,omitempty"`
	// RebootedAt is when it was started again, for a while.
	RebootedAt time.Time `json:"rebooted_at,omitzero"`
	// Conflict names the addresses from which two or more machines write under
	// this name: what else is shown is now of the one, now of the other.
	Conflict []string `json:"conflict,omitempty"`
	// FirstSeen is when the first lines arrived that the relay still knows of.
	FirstSeen time.Time `json:"first_seen,omitzero"`
	// LastSeen is when its last lines arrived, by the relay's clock.
	LastSeen         time.Time `json:"last_seen"`
	SecondsSinceSeen float64   `json:"seconds_since_seen"`
	// IntervalSeconds is its rhythm: the time between two arrivals.
	IntervalSeconds float64 `json:"interval_seconds"`
	// Address is where its last lines came from.
	Address string `json:"address,omitempty"`
	// Client is what its agent calls itself: the User-Agent of its last write.
	Client string `json:"client,omitempty"`
	// Outdated says that its vitals-agent is of an older version than the relay.
	Outdated bool `json:"outdated,omitempty"`
	// Token is the ID of the token of its last write.
	Token string `json:"token,omitempty"`
	// ClockSkewSeconds is by how much its clock is ahead (positive) or behind;
	// absent if by little. A backlog looks like a clock that is behind.
	ClockSkewSeconds *float64 `json:"clock_skew_seconds,omitempty"`
	// UptimeSeconds is how long the machine had been up when it was last seen.
	UptimeSeconds *float64 `json:"uptime_seconds,omitempty"`
	// Lines is how many have arrived since FirstSeen; under heavy load, when
	// lines are sampled, an estimate.
	Lines          int64   `json:"lines"`
	LinesPerMinute float64 `json:"lines_per_minute"`

	CPUPercent *float64 `json:"cpu_percent,omitempty"` // 0 to 100, all CPUs together
	CPUMHz     *float64 `json:"cpu_mhz,omitempty"`     // now
	Cores      *float64 `json:"cores,omitempty"`
	Load1      *float64 `json:"load1,omitempty"`

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

	// The fullest file system; percent is 0 to 100.
	DiskPath       string   `json:"disk_path,omitempty"`
	DiskPercent    *float64 `json:"disk_percent,omitempty"`
	DiskUsedBytes  *float64 `json:"disk_used_bytes,omitempty"`
	DiskTotalBytes *float64 `json:"disk_total_bytes,omitempty"`

	// Throttling is what slows a Raspberry Pi down now, in words; nil if that is
	// not known.
	Throttling []string `json:"throttling,omitempty"`
	// Collectors are its collectors, where its agent tells of them
	// ([[inputs.internal]]).
	Collectors []Collector `json:"collectors,omitempty"`

	// Tags are those that all its lines have, without host and node. Facts and
	// Tags are shared: they must not be changed.
	Tags map[string]string `json:"tags,omitempty"`
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
	// Retired nodes are out of service.
	Retired int `json:"retired"`
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
		case Retired:
			c.Retired++
		default:
			c.Down++
		}
	}
	return c
}
