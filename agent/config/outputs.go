package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/agent/selection"
	"github.com/rpicluster/vitals/internal/nodefile"
)

// Output is one [[outputs.NAME]] table. The fields that an output of its kind
// does not have are empty.
type Output struct {
	ID    string // unique, and the name of its buffer: the alias, else the name
	Name  string // influxdb, influxdb_v2, file or discard
	Alias string

	LogLevel string

	FlushInterval, FlushJitter time.Duration
	BatchSize, BufferLimit     int           // lines
	BatchBytes                 int64         // of one write, inflated
	BufferMaxBytes             int64         // on disk
	BufferMaxAge               time.Duration // 0: lines are never too old

	Filter         *selection.Filter
	NameOverride   string // the lines' new name, after the filters
	Prefix, Suffix string

	URLs                        []string
	Database, RetentionPolicy   string
	DatabaseTag, PolicyTag      Route
	SkipDatabaseCreation        bool
	Consistency                 string
	Username, Password          string
	Token, Organization, Bucket string
	BucketTag                   Route
	Timeout                     time.Duration
	UserAgent                   string
	Headers                     map[string]string
	Identity                    bool
	TLS                         TLS
	Proxy                       *url.URL     // nil: as the environment says
	Local                       *net.TCPAddr // nil: the system's choice
	RateLimit                   int64        // bytes sent in each RatePeriod; 0: any number
	RatePeriod                  time.Duration
	ConcurrentWrites            int
	PingAfter, PingTimeout      time.Duration

	Files       []string
	Compress    bool
	RotateEvery time.Duration
	RotateBytes int64
	RotateKeep  int
}

// Route sends a line to the database, retention policy or bucket that a tag of
// its own names.
type Route struct {
	Tag     string // empty: all lines go to the same
	Exclude bool   // the tag is not written
}

// outputOptions are the options of every output.
type outputOptions struct {
	Alias          string             `toml:"alias"`
	LogLevel       string             `toml:"log_level"`
	FlushInterval  nodefile.Duration  `toml:"flush_interval"`
	FlushJitter    *nodefile.Duration `toml:"flush_jitter"`
	BatchSize      int                `toml:"metric_batch_size"`
	BatchBytes     nodefile.Size      `toml:"metric_batch_bytes"`
	BufferLimit    int                `toml:"metric_buffer_limit"`
	BufferMaxBytes nodefile.Size      `toml:"buffer_max_bytes"`
	BufferMaxAge   *nodefile.Duration `toml:"buffer_max_age"`
}

type discardOptions struct {
	outputOptions
}

// outputNames are the outputs there are.
var outputNames = []string{"influxdb", "influxdb_v2", "file", "discard"}

func (l *loader) outputs(a Agent) []Output {
	sections, err := l.sections("outputs", l.OutputFilter)
	l.fail(err)
	if err == nil && len(sections) == 0 {
		l.fail(&nodefile.Error{File: l.file.Name, Text: "there is no output; add one, such as [[outputs.influxdb]] with urls = [\"http://127.0.0.1:8186\"]"})
	}
	var all []Output
	var from []*nodefile.Section
	for _, s := range sections {
		if !selected(l.OutputFilter, s.Name) {
			continue
		}
		if o, ok := l.output(a, s); ok {
			all, from = append(all, o), append(from, s)
		}
	}
	l.outputIDs(all, from)
	if len(sections) > 0 && len(all) == 0 && len(l.OutputFilter) > 0 {
		l.fail(fmt.Errorf("no output is named %s; the node file has %s",
			strings.Join(l.OutputFilter, " or "), strings.Join(names(sections), ", ")))
	}
	return all
}

// outputIDs gives outputs the names of their buffers on disk. These are never
// made of the options, so that correcting a URL does not orphan what waits to
// be sent. Those with an alias come first: no number takes its name away.
func (l *loader) outputIDs(all []Output, from []*nodefile.Section) {
	taken := map[string]bool{}
	for _, aliased := range []bool{true, false} {
		for i := range all {
			o := &all[i]
			if (o.Alias != "") != aliased {
				continue
			}
			name := o.Name
			if aliased {
				name = o.Alias
			}
			o.ID = name
			for n := 2; taken[o.ID]; n++ {
				o.ID = fmt.Sprintf("%s-%d", name, n)
			}
			if taken[o.ID] = true; o.ID != name {
				l.warn(from[i].Errorf("", "another output is named %q already, so the buffer of this one is %q; give it an alias of its own, or its buffer depends on the order of the tables", name, o.ID))
			}
		}
	}
}

func (l *loader) output(a Agent, s *nodefile.Section) (Output, bool) {
	o := Output{
		Name: s.Name, FlushInterval: a.FlushInterval, FlushJitter: a.FlushJitter,
		BatchSize: a.BatchSize, BatchBytes: a.BatchBytes, BufferLimit: a.BufferLimit,
		BufferMaxBytes: a.BufferMaxBytes, BufferMaxAge: a.BufferMaxAge,
	}
	l.filterOutput(s, &o)
	switch s.Name {
	case "influxdb":
		l.influx(s, &o)
	case "influxdb_v2":
		l.influx2(s, &o)
	case "file":
		l.fileOutput(s, &o)
	case "discard":
		l.discard(s, &o)
	}
	return o, true
}

func (l *loader) common(s *nodefile.Section, t outputOptions, o *Output) {
	l.checkLogLevel(s, t.LogLevel)
	o.LogLevel = t.LogLevel
	if o.Alias = t.Alias; strings.ContainsAny(t.Alias, "/\x00") || strings.HasPrefix(t.Alias, ".") {
		l.fail(s.Errorf("alias", "names a directory, so it cannot hold / nor begin with a dot"))
	}
	l.notNegative(s, "flush_interval", t.FlushInterval)
	if t.FlushInterval > 0 {
		o.FlushInterval = t.FlushInterval.Std()
	}
	if t.FlushJitter != nil {
		l.notNegative(s, "flush_jitter", *t.FlushJitter)
		o.FlushJitter = t.FlushJitter.Std()
	}
	l.count(s, "metric_batch_size", &t.BatchSize, o.BatchSize)
	l.count(s, "metric_buffer_limit", &t.BufferLimit, o.BufferLimit)
	o.BatchSize, o.BufferLimit = t.BatchSize, t.BufferLimit
	if t.BatchBytes != 0 {
		l.checkBatchBytes(s, t.BatchBytes)
		o.BatchBytes = int64(t.BatchBytes)
	}
	if t.BufferMaxBytes != 0 {
		l.checkBufferBytes(s, t.BufferMaxBytes)
		o.BufferMaxBytes = int64(t.BufferMaxBytes)
	}
	if t.BufferMaxAge != nil {
		l.notNegative(s, "buffer_max_age", *t.BufferMaxAge)
		o.BufferMaxAge = t.BufferMaxAge.Std()
	}
}

func (l *loader) checkBatchBytes(s *nodefile.Section, n nodefile.Size) {
	if n < 4<<10 {
		l.fail(s.Errorf("metric_batch_bytes", "must be at least 4KiB"))
	}
}

func (l *loader) checkBufferBytes(s *nodefile.Section, n nodefile.Size) {
	if n < 1<<20 {
		l.fail(s.Errorf("buffer_max_bytes", "must be at least 1MiB"))
	}
}

func (l *loader) discard(s *nodefile.Section, o *Output) {
	l.refuse(s, outputUnsupported)
	var t discardOptions
	l.fail(s.Decode(&t))
	l.common(s, t.outputOptions, o)
}

type fileOptions struct {
	outputOptions
	Files       []string          `toml:"files"`
	RotateEvery nodefile.Duration `toml:"rotation_interval"`
	RotateBytes nodefile.Size     `toml:"rotation_max_size"`
	RotateKeep  int               `toml:"rotation_max_archives"`
	Compression string            `toml:"compression_algorithm"`
}

func (l *loader) fileOutput(s *nodefile.Section, o *Output) {
	l.refuse(s, fileUnsupported)
	t := fileOptions{Files: []string{"stdout"}, RotateKeep: 5}
	l.fail(s.Decode(&t))
	l.common(s, t.outputOptions, o)
	l.notNegative(s, "rotation_interval", t.RotateEvery)
	if t.RotateBytes < 0 {
		l.fail(s.Errorf("rotation_max_size", "must not be negative"))
	}
	if t.RotateKeep < -1 {
		l.fail(s.Errorf("rotation_max_archives", "is a number of files, or -1 for all of them"))
	}
	o.Files, o.RotateEvery, o.RotateBytes, o.RotateKeep = t.Files, t.RotateEvery.Std(), int64(t.RotateBytes), t.RotateKeep
	switch t.Compression {
	case "":
	case "gzip":
		o.Compress = true
	default:
		l.fail(s.Errorf("compression_algorithm", `%q is not built in; vitals-agent compresses files with "gzip"`, t.Compression))
	}
	if len(t.Files) == 0 || slices.Contains(t.Files, "") {
		l.fail(s.Errorf("files", `must name files, or "stdout"`))
	}
}
