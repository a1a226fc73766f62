package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rpicluster/vitals/agent/clock"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/internal/nodefile"
)

// Agent is the [agent] table.
type Agent struct {
	Interval         time.Duration
	RoundInterval    bool
	Precision        time.Duration // 0: derived from each interval
	CollectionJitter time.Duration
	CollectionOffset time.Duration
	GatherTimeout    time.Duration
	FlushInterval    time.Duration
	FlushJitter      time.Duration
	BatchSize        int
	BufferLimit      int
	Debug, Quiet     bool
	Log              Log
	Hostname         string // empty: no host tag
	// AlwaysLocalTags and AlwaysGlobalTags add an input's own tags and the
	// global ones again if its filters have taken them away.
	AlwaysLocalTags, AlwaysGlobalTags bool
	DiskBuffer                        bool
	BufferDirectory                   string
	BatchBytes                        int64
	BufferMaxBytes                    int64
	BufferMaxAge                      time.Duration // 0: lines are never too old
	Clock                             clock.Settings
	Trust                             trust.Rules    // which drop-ins may be run
	Limits                            program.Limits // of those that are
}

// agentTable is the table as written.
type agentTable struct {
	Interval         nodefile.Duration `toml:"interval"`
	RoundInterval    bool              `toml:"round_interval"`
	Precision        nodefile.Duration `toml:"precision"`
	CollectionJitter nodefile.Duration `toml:"collection_jitter"`
	CollectionOffset nodefile.Duration `toml:"collection_offset"`
	GatherTimeout    nodefile.Duration `toml:"gather_timeout"`
	FlushInterval    nodefile.Duration `toml:"flush_interval"`
	FlushJitter      nodefile.Duration `toml:"flush_jitter"`
	BatchSize        int               `toml:"metric_batch_size"`
	BatchBytes       nodefile.Size     `toml:"metric_batch_bytes"`
	BufferLimit      int               `toml:"metric_buffer_limit"`
	Debug            bool              `toml:"debug"`
	Quiet            bool              `toml:"quiet"`
	logTable
	Hostname         string            `toml:"hostname"`
	OmitHostname     bool              `toml:"omit_hostname"`
	AlwaysLocalTags  bool              `toml:"always_include_local_tags"`
	AlwaysGlobalTags bool              `toml:"always_include_global_tags"`
	BufferStrategy   string            `toml:"buffer_strategy"`
	BufferDirectory  string            `toml:"buffer_directory"`
	BufferMaxBytes   nodefile.Size     `toml:"buffer_max_bytes"`
	BufferMaxAge     nodefile.Duration `toml:"buffer_max_age"`
	TrustClock       bool              `toml:"trust_clock"`
	UnsyncedHold     nodefile.Duration `toml:"unsynced_hold"`
	PluginDirectory  []string          `toml:"plugin_directory"`
	PluginPolicy     string            `toml:"plugin_policy"`
	PluginOwner      string            `toml:"plugin_owner"`
	PluginLockFile   string            `toml:"plugin_lock_file"`
	PluginUser       string            `toml:"plugin_user"`
	PluginMemoryMax  nodefile.Size     `toml:"plugin_memory_max"`
}

// DefaultGatherTimeout is how long a collector may take, where its interval
// leaves it that long.
const DefaultGatherTimeout = 5 * time.Second

func defaultAgent() agentTable {
	return agentTable{
		logTable:        logTable{RotateKeep: 5},
		Interval:        nodefile.Duration(10 * time.Second),
		RoundInterval:   true,
		GatherTimeout:   nodefile.Duration(DefaultGatherTimeout),
		FlushInterval:   nodefile.Duration(10 * time.Second),
		BatchSize:       1000,
		BatchBytes:      1 << 20,
		BufferLimit:     10000,
		BufferStrategy:  "memory",
		BufferMaxBytes:  256 << 20,
		UnsyncedHold:    nodefile.Duration(15 * time.Minute),
		PluginDirectory: []string{"/usr/lib/vitals/plugins", "/usr/local/lib/vitals/plugins"},
		PluginPolicy:    "permissions",
		PluginLockFile:  "/etc/vitals/plugins.lock",
		PluginMemoryMax: defaultMemory,
	}
}

func (l *loader) agent() Agent {
	s, _ := l.file.Table("agent")
	l.fillIn(s)
	l.refuse(s, agentUnsupported)
	t := defaultAgent()
	l.fail(s.Decode(&t))
	l.checkAgent(s, &t)
	a := Agent{
		Interval: t.Interval.Std(), RoundInterval: t.RoundInterval, Precision: t.Precision.Std(),
		CollectionJitter: t.CollectionJitter.Std(), CollectionOffset: t.CollectionOffset.Std(),
		GatherTimeout: t.GatherTimeout.Std(),
		FlushInterval: t.FlushInterval.Std(), FlushJitter: t.FlushJitter.Std(),
		BatchSize: t.BatchSize, BufferLimit: t.BufferLimit,
		Debug: t.Debug, Quiet: t.Quiet, Log: l.log(s, &t.logTable),
		AlwaysLocalTags: t.AlwaysLocalTags, AlwaysGlobalTags: t.AlwaysGlobalTags,
		DiskBuffer: t.BufferStrategy != "memory", BufferDirectory: t.BufferDirectory,
		BatchBytes: int64(t.BatchBytes), BufferMaxBytes: int64(t.BufferMaxBytes), BufferMaxAge: t.BufferMaxAge.Std(),
		Clock: clock.Settings{Trust: t.TrustClock, Hold: t.UnsyncedHold.Std(), Lines: t.BufferLimit},
		Trust: l.trust(s, &t), Limits: l.limits(s, &t),
	}
	a.Trust.User = (*trust.User)(a.Limits.User)
	if a.BufferDirectory == "" {
		a.BufferDirectory = DefaultBufferDirectory()
	}
	a.Hostname = l.hostname(s, t)
	return a
}

func (l *loader) hostname(s *nodefile.Section, t agentTable) string {
	if t.OmitHostname || t.Hostname != "" {
		if t.OmitHostname {
			return ""
		}
		return t.Hostname
	}
	if name := hostsName(); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		l.fail(s.Errorf("", `this machine's name cannot be read (%v); set hostname = "…"`, err))
	}
	if os.Getenv("HOST_PROC") != "" && containerID.MatchString(name) {
		l.warn(s.Errorf("", `%q is the name of a container, and the next one will have another; let $HOST_ETC be the /etc of the host, or run it with --uts=host, or set hostname = "…"`, name))
	}
	return name
}

// containerID is what a container is called that was given no name.
var containerID = regexp.MustCompile("^[0-9a-f]{12}$")

// hostsName is what the machine is called that this container runs on, which
// has its /etc mounted where HOST_ETC says.
func hostsName() string {
	dir := os.Getenv("HOST_ETC")
	if dir == "" {
		return ""
	}
	text, _ := os.ReadFile(filepath.Join(dir, "hostname"))
	for line := range strings.Lines(string(text)) {
		if name := strings.TrimSpace(line); name != "" && name[0] != '#' {
			return name
		}
	}
	return ""
}

func (l *loader) checkAgent(s *nodefile.Section, t *agentTable) {
	l.positive(s, "interval", t.Interval)
	l.positive(s, "flush_interval", t.FlushInterval)
	l.positive(s, "gather_timeout", t.GatherTimeout)
	l.notNegative(s, "precision", t.Precision)
	l.notNegative(s, "collection_jitter", t.CollectionJitter)
	l.notNegative(s, "collection_offset", t.CollectionOffset)
	l.notNegative(s, "flush_jitter", t.FlushJitter)
	l.count(s, "metric_batch_size", &t.BatchSize, 1000)
	l.count(s, "metric_buffer_limit", &t.BufferLimit, 10000)
	switch t.BufferStrategy {
	case "memory", "disk", "disk_write_through":
	default:
		l.fail(s.Errorf("buffer_strategy", `%q is no strategy; it is "memory" or "disk"`, t.BufferStrategy))
	}
	l.checkBatchBytes(s, t.BatchBytes)
	l.checkBufferBytes(s, t.BufferMaxBytes)
	l.notNegative(s, "buffer_max_age", t.BufferMaxAge)
	l.notNegative(s, "unsynced_hold", t.UnsyncedHold)
}

func (l *loader) positive(s *nodefile.Section, key string, d nodefile.Duration) {
	if d <= 0 {
		l.fail(s.Errorf(key, "must be more than 0, such as \"10s\""))
	}
}

func (l *loader) notNegative(s *nodefile.Section, key string, d nodefile.Duration) {
	if d < 0 {
		l.fail(s.Errorf(key, "must not be negative"))
	}
}

// count checks a number of lines, of which 0 means the default.
func (l *loader) count(s *nodefile.Section, key string, n *int, ifZero int) {
	if *n < 0 {
		l.fail(s.Errorf(key, "must not be negative"))
	}
	if *n == 0 {
		*n = ifZero
	}
}
