package config

import (
	"regexp"
	"time"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// Limits bound what a client can ask of the relay.
type Limits struct {
	// MaxBody bounds one write after inflating, MaxCompressedBody as it
	// travels, MaxInFlight the bodies of all writes being served.
	MaxBody           nodefile.Size `toml:"max_body"`
	MaxCompressedBody nodefile.Size `toml:"max_compressed_body"`
	MaxInFlight       nodefile.Size `toml:"max_in_flight"`
	// MaxRatio bounds inflated to compressed bytes beyond the first MiB.
	MaxRatio int `toml:"max_ratio"`

	MaxLine     nodefile.Size `toml:"max_line"`
	MaxTags     int           `toml:"max_tags"`
	MaxFields   int           `toml:"max_fields"`
	MaxKey      nodefile.Size `toml:"max_key"` // of measurements, tags and fields
	MaxTagValue nodefile.Size `toml:"max_tag_value"`

	MaxHeader     nodefile.Size     `toml:"max_header"`
	HeaderTimeout nodefile.Duration `toml:"header_timeout"`
	// MinRate is how many bytes of a body must come in a second, on average.
	MinRate nodefile.Size `toml:"min_rate"`
	// BodySilence is how long a body may stop coming, BodyTimeout how long it
	// may take as a whole.
	BodySilence nodefile.Duration `toml:"body_silence"`
	BodyTimeout nodefile.Duration `toml:"body_timeout"`
	IdleTimeout nodefile.Duration `toml:"idle_timeout"`

	MaxConnections           int `toml:"max_connections"`
	MaxConnectionsPerAddress int `toml:"max_connections_per_address"`
}

func defaultLimits() Limits {
	return Limits{
		MaxBody: 25_000_000, MaxCompressedBody: 25_000_000, MaxInFlight: 128 << 20, MaxRatio: 250,
		MaxLine: 64 << 10, MaxTags: 64, MaxFields: 256, MaxKey: 1 << 10, MaxTagValue: 1 << 10,
		MaxHeader: 16 << 10, HeaderTimeout: nodefile.Duration(5 * time.Second),
		MinRate: 512, BodySilence: nodefile.Duration(30 * time.Second), BodyTimeout: nodefile.Duration(10 * time.Minute),
		IdleTimeout:    nodefile.Duration(2 * time.Minute),
		MaxConnections: 4096, MaxConnectionsPerAddress: 512,
	}
}

func (l *Limits) validate(s *nodefile.Section) []error {
	var errs []error
	add := func(key, format string, args ...any) { errs = append(errs, s.Errorf(key, format, args...)) }
	if l.MaxBody < 1024 {
		add("max_body", "must be at least 1 KiB; the default is 25 MB")
	}
	if l.MaxCompressedBody < 1024 {
		add("max_compressed_body", "must be at least 1 KiB; the default is 25 MB")
	}
	if need := 2*l.MaxBody + l.MaxCompressedBody; l.MaxInFlight < need && len(errs) == 0 {
		if s.Has("max_in_flight") {
			add("max_in_flight", "must be at least %d, twice max_body and once max_compressed_body, or the largest write could never be served", need)
		}
		l.MaxInFlight = need
	}
	atLeast := func(key string, value, least int64) {
		if value < least {
			add(key, "must be at least %d", least)
		}
	}
	atLeast("max_ratio", int64(l.MaxRatio), 20)
	atLeast("max_line", int64(l.MaxLine), 256)
	atLeast("max_tags", int64(l.MaxTags), 1)
	atLeast("max_fields", int64(l.MaxFields), 1)
	atLeast("max_key", int64(l.MaxKey), 16)
	atLeast("max_tag_value", int64(l.MaxTagValue), 16)
	atLeast("max_header", int64(l.MaxHeader), 1024)
	atLeast("min_rate", int64(l.MinRate), 1)
	atLeast("max_connections", int64(l.MaxConnections), 16)
	atLeast("max_connections_per_address", int64(l.MaxConnectionsPerAddress), 1)
	for key, d := range map[string]nodefile.Duration{
		"header_timeout": l.HeaderTimeout, "body_silence": l.BodySilence, "body_timeout": l.BodyTimeout, "idle_timeout": l.IdleTimeout,
	} {
		if d.Std() < 100*time.Millisecond {
			add(key, "must be at least 100ms")
		}
	}
	return errs
}

// Door is which servers the relay passes for.
type Door struct {
	Version1 string `toml:"version_1"`
	Version2 string `toml:"version_2"`
	Version3 string `toml:"version_3"`
	// AnswerAs is whose answers the paths have that all versions share.
	AnswerAs int `toml:"answer_as"`
}

func defaultDoor() Door {
	return Door{Version1: "1.8.10", Version2: "v2.7.11", Version3: "3.10.1", AnswerAs: 1}
}

// versionForm is what clients can read as a number.
var versionForm = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)+$`)

func (d *Door) validate(s *nodefile.Section) []error {
	var errs []error
	for key, version := range map[string]string{"version_1": d.Version1, "version_2": d.Version2, "version_3": d.Version3} {
		if !versionForm.MatchString(version) {
			errs = append(errs, s.Errorf(key, `must be like "1.8.10": clients read it as a number`))
		}
	}
	if d.AnswerAs < 1 || d.AnswerAs > 3 {
		errs = append(errs, s.Errorf("answer_as", "must be 1, 2 or 3: the InfluxDB whose /ping and /health the relay has"))
	}
	return errs
}
