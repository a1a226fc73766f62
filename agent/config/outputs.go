package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/nodefile"
)

// Output is one [[outputs.NAME]] table. The fields that an output of its kind
// does not have are empty.
type Output struct {
	ID    string // unique, and the name of its buffer: the alias, else the name
	Name  string // influxdb, influxdb_v2 or file
	Alias string

	FlushInterval, FlushJitter time.Duration
	BatchSize, BufferLimit     int

	URLs                        []string
	Database, RetentionPolicy   string
	SkipDatabaseCreation        bool
	Username, Password          string
	Token, Organization, Bucket string
	Timeout                     time.Duration
	UserAgent                   string
	Headers                     map[string]string
	SkipVerify                  bool
	Files                       []string
}

// outputOptions are the options of every output.
type outputOptions struct {
	Alias         string             `toml:"alias"`
	FlushInterval nodefile.Duration  `toml:"flush_interval"`
	FlushJitter   *nodefile.Duration `toml:"flush_jitter"`
	BatchSize     int                `toml:"metric_batch_size"`
	BufferLimit   int                `toml:"metric_buffer_limit"`
}

// httpOptions are the options of both InfluxDB outputs.
type httpOptions struct {
	URLs            []string          `toml:"urls"`
	Timeout         nodefile.Duration `toml:"timeout"`
	UserAgent       string            `toml:"user_agent"`
	Headers         map[string]string `toml:"http_headers"`
	ContentEncoding string            `toml:"content_encoding"`
	SkipVerify      bool              `toml:"insecure_skip_verify"`
}

type influxOptions struct {
	outputOptions
	httpOptions
	Database             string `toml:"database"`
	RetentionPolicy      string `toml:"retention_policy"`
	Username             string `toml:"username"`
	Password             string `toml:"password"`
	SkipDatabaseCreation bool   `toml:"skip_database_creation"`
}

type influx2Options struct {
	outputOptions
	httpOptions
	Token        string `toml:"token"`
	Organization string `toml:"organization"`
	Bucket       string `toml:"bucket"`
}

type fileOptions struct {
	outputOptions
	Files []string `toml:"files"`
}

// outputNames are the outputs there are.
var outputNames = []string{"influxdb", "influxdb_v2", "file"}

func (l *loader) outputs(a Agent) []Output {
	sections, err := l.file.Plugins("outputs")
	l.fail(err)
	if err == nil && len(sections) == 0 {
		l.fail(&nodefile.Error{File: l.file.Name, Text: "there is no output; add one, such as [[outputs.influxdb]] with urls = [\"http://127.0.0.1:8186\"]"})
	}
	var all []Output
	ids := map[string]int{}
	for _, s := range sections {
		if !selected(l.OutputFilter, s.Name) {
			continue
		}
		if o, ok := l.output(a, s); ok {
			o.ID = l.outputID(s, ids, o)
			all = append(all, o)
		}
	}
	if len(sections) > 0 && len(all) == 0 && len(l.OutputFilter) > 0 {
		l.fail(fmt.Errorf("no output is named %s; the node file has %s",
			strings.Join(l.OutputFilter, " or "), strings.Join(names(sections), ", ")))
	}
	return all
}

// outputID is the name of the output's buffer on disk. It is never made of the
// options, so that correcting a URL does not orphan what waits to be sent.
func (l *loader) outputID(s *nodefile.Section, seen map[string]int, o Output) string {
	id := o.Name
	if o.Alias != "" {
		id = o.Alias
	}
	if seen[id]++; seen[id] == 1 {
		return id
	}
	numbered := fmt.Sprintf("%s-%d", id, seen[id])
	l.warn(s.Errorf("", "another output is named %q already, so the buffer of this one is %q; give it an alias of its own, or its buffer depends on the order of the tables", id, numbered))
	return numbered
}

func (l *loader) output(a Agent, s *nodefile.Section) (Output, bool) {
	o := Output{Name: s.Name, FlushInterval: a.FlushInterval, FlushJitter: a.FlushJitter, BatchSize: a.BatchSize, BufferLimit: a.BufferLimit}
	switch s.Name {
	case "influxdb":
		l.influx(s, &o)
	case "influxdb_v2":
		l.influx2(s, &o)
	case "file":
		l.fileOutput(s, &o)
	default:
		text := "there is no such output; there are influxdb, influxdb_v2 and file"
		if near := nodefile.Nearest(s.Name, outputNames); near != "" {
			text += fmt.Sprintf("; did you mean [[outputs.%s]]?", near)
		}
		l.fail(s.Errorf("", "%s", text))
		return o, false
	}
	return o, true
}

func (l *loader) influx(s *nodefile.Section, o *Output) {
	l.refuse(s, influxUnsupported)
	t := influxOptions{httpOptions: defaultHTTP(), Database: "telegraf"}
	l.fail(s.Decode(&t))
	l.common(s, t.outputOptions, o)
	l.http(s, t.httpOptions, o)
	o.Database, o.RetentionPolicy = t.Database, t.RetentionPolicy
	o.Username, o.Password = t.Username, t.Password
	o.SkipDatabaseCreation = t.SkipDatabaseCreation
	if t.Database == "" {
		l.fail(s.Errorf("database", "must not be empty"))
	}
}

func (l *loader) influx2(s *nodefile.Section, o *Output) {
	l.refuse(s, influx2Unsupported)
	t := influx2Options{httpOptions: defaultHTTP()}
	l.fail(s.Decode(&t))
	l.common(s, t.outputOptions, o)
	l.http(s, t.httpOptions, o)
	o.Token, o.Organization, o.Bucket = t.Token, t.Organization, t.Bucket
	if t.Bucket == "" {
		l.fail(s.Errorf("bucket", "is missing; name the bucket to write to"))
	}
}

func (l *loader) fileOutput(s *nodefile.Section, o *Output) {
	l.refuse(s, fileUnsupported)
	t := fileOptions{Files: []string{"stdout"}}
	l.fail(s.Decode(&t))
	l.common(s, t.outputOptions, o)
	o.Files = t.Files
	if len(t.Files) == 0 || slices.Contains(t.Files, "") {
		l.fail(s.Errorf("files", `must name files, or "stdout"`))
	}
}

func (l *loader) common(s *nodefile.Section, t outputOptions, o *Output) {
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
}

func defaultHTTP() httpOptions {
	return httpOptions{URLs: []string{"http://localhost:8086"}, Timeout: nodefile.Duration(5 * time.Second), ContentEncoding: "gzip"}
}

func (l *loader) http(s *nodefile.Section, t httpOptions, o *Output) {
	l.positive(s, "timeout", t.Timeout)
	if len(t.URLs) == 0 {
		l.fail(s.Errorf("urls", `must name an InfluxDB or a relay, such as ["http://127.0.0.1:8186"]`))
	}
	for _, text := range t.URLs {
		l.checkURL(s, text)
	}
	switch t.ContentEncoding {
	case "gzip", "":
	case "identity":
		l.fail(s.Errorf("content_encoding", "this version of vitals-agent always sends gzip, which every InfluxDB takes; remove the option"))
	default:
		l.fail(s.Errorf("content_encoding", `%q is no encoding; vitals-agent sends "gzip"`, t.ContentEncoding))
	}
	o.URLs, o.Timeout, o.UserAgent = t.URLs, t.Timeout.Std(), t.UserAgent
	o.Headers, o.SkipVerify = t.Headers, t.SkipVerify
}

func (l *loader) checkURL(s *nodefile.Section, text string) {
	u, err := url.Parse(text)
	shown := influx.Redact(text)
	switch {
	case !strings.Contains(text, "://") && text != "":
		l.fail(s.Errorf("urls", "%q is not a URL; write it as http://%s", shown, shown))
	case err != nil:
		l.fail(s.Errorf("urls", "%q is not a URL", shown))
	case u.Scheme != "http" && u.Scheme != "https":
		l.fail(s.Errorf("urls", "%q does not begin with http:// or https://, which is all that vitals-agent speaks", shown))
	case u.Host == "":
		l.fail(s.Errorf("urls", "%q names no host", shown))
	}
}
