package config

import (
	"time"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// Log says where and how the agent logs.
type Log struct {
	File        string        // empty: standard error
	Structured  bool          // JSON
	MessageKey  string        // of a structured log; empty: msg
	Zone        string        // in which times are shown; empty: that of the machine
	RotateEvery time.Duration // 0: however old
	RotateBytes int64         // 0: however large
	RotateKeep  int           // files that were rotated; -1: all
}

// logTable are the options of [agent] that are about the log.
type logTable struct {
	LogFile     string            `toml:"logfile"`
	Format      string            `toml:"logformat"`
	MessageKey  string            `toml:"structured_log_message_key"`
	Zone        string            `toml:"log_with_timezone"`
	RotateEvery nodefile.Duration `toml:"logfile_rotation_interval"`
	RotateBytes nodefile.Size     `toml:"logfile_rotation_max_size"`
	RotateKeep  int               `toml:"logfile_rotation_max_archives"`
}

// log checks how to log.
func (l *loader) log(s *nodefile.Section, t *logTable) Log {
	log := Log{
		File: t.LogFile, Structured: t.Format == "structured", MessageKey: t.MessageKey,
		RotateEvery: t.RotateEvery.Std(), RotateBytes: int64(t.RotateBytes), RotateKeep: t.RotateKeep,
	}
	switch t.Format {
	case "", "text", "structured":
	default:
		l.fail(s.Errorf("logformat", "%q is no format of the log; it is text or structured", t.Format))
	}
	l.notNegative(s, "logfile_rotation_interval", t.RotateEvery)
	if t.RotateBytes < 0 {
		l.fail(s.Errorf("logfile_rotation_max_size", "must not be negative"))
	}
	if t.RotateKeep < -1 {
		l.fail(s.Errorf("logfile_rotation_max_archives", "must be a number of files, or -1 for all"))
	}
	switch t.Zone {
	case "", "local", "Local":
	default:
		if _, err := time.LoadLocation(t.Zone); err != nil {
			l.fail(s.Errorf("log_with_timezone", "%q is no time zone that this machine knows; write it as \"Europe/Berlin\", \"UTC\" or \"local\"", t.Zone))
		}
		log.Zone = t.Zone
	}
	return log
}
