package config

import (
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/glob"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/relay/alert"
)

// alertRule is one table of [[relay.alerts]].
type alertRule struct {
	Kind         string            `toml:"kind"`
	Name         string            `toml:"name"`
	Enabled      bool              `toml:"enabled"`
	For          nodefile.Duration `toml:"for"`
	Above        level             `toml:"above"`
	ClearBelow   level             `toml:"clear_below"`
	Nodes        []string          `toml:"nodes"`
	Destinations []string          `toml:"destinations"`
	Quiet        []string          `toml:"quiet"`
}

// level is a figure, or a duration, which counts as seconds.
type level struct {
	value    float64
	duration bool
}

// UnmarshalTOML reads a number or a duration.
func (l *level) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case int64:
		l.value = float64(v)
	case float64:
		l.value = v
	case string:
		var d nodefile.Duration
		if err := d.UnmarshalText([]byte(v)); err != nil {
			return err
		}
		l.value, l.duration = d.Std().Seconds(), true
	default:
		return fmt.Errorf(`must be a number, or a duration such as "10m"`)
	}
	if math.IsNaN(l.value) || math.IsInf(l.value, 0) {
		return fmt.Errorf("must be a number")
	}
	return nil
}

// alertName is what can stand in a tag, a file and a command line.
var alertName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// decodeAlerts reads the rules: those of the file take the place of the default
// ones of the same name.
func (c *Config) decodeAlerts(s *nodefile.Section) []error {
	named := map[string]bool{}
	var own []alert.Rule
	errs := eachNamed(s, "alerts", "%q is the name of two alerts; give one of them another", func(table *nodefile.Section) (string, []error) {
		r := alertRule{Enabled: true}
		var errs []error
		if err := table.Decode(&r); err != nil {
			errs = append(errs, err)
		}
		rule, mistakes := r.rule(table)
		named[rule.Name] = true
		if r.Enabled {
			own = append(own, rule)
		}
		return rule.Name, append(errs, mistakes...)
	})
	for _, kind := range alert.Kinds() {
		if alert.OnByDefault(kind) && !named[string(kind)] {
			c.Alerts = append(c.Alerts, alert.Defaults()[kind])
		}
	}
	c.Alerts = append(c.Alerts, own...)
	return errs
}

// rule completes a table by what its kind begins with.
func (r *alertRule) rule(s *nodefile.Section) (rule alert.Rule, errs []error) {
	add := func(key, format string, args ...any) { errs = append(errs, s.Errorf(key, format, args...)) }
	kind := alert.Kind(r.Kind)
	rule, known := alert.Defaults()[kind]
	if !known {
		var names []string
		for _, k := range alert.Kinds() {
			names = append(names, string(k))
		}
		text := fmt.Sprintf("must be one of %s", strings.Join(names, ", "))
		if near := nodefile.Nearest(r.Kind, names); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		add("kind", "%s", text)
		return rule, errs
	}
	if r.Name != "" {
		if rule.Name = r.Name; !alertName.MatchString(r.Name) {
			add("name", "%q cannot be used as a tag; use letters, digits, dots, dashes and underscores", r.Name)
		}
	}
	if s.Has("for") {
		if rule.For, rule.Intervals = r.For.Std(), 0; r.For < 0 {
			add("for", "must not be negative")
		}
	}
	r.levels(s, &rule, add)
	subjects, other := r.Nodes, "destinations"
	if kind.OfDestinations() {
		subjects, other = r.Destinations, "nodes"
	}
	if s.Has(other) {
		add(other, "a %s alert is not about %s; remove it", kind, other)
	}
	rule.Subjects = subjects
	for _, pattern := range subjects {
		if _, err := glob.Compile(pattern); err != nil {
			add(map[bool]string{true: "destinations", false: "nodes"}[kind.OfDestinations()], "%q is no pattern: %v", pattern, err)
		}
	}
	var err error
	if rule.Quiet, err = alert.ParseHours(r.Quiet); err != nil {
		add("quiet", "%v", err)
	}
	return rule, errs
}

// levels reads the figures between which an alert begins and ends.
func (r *alertRule) levels(s *nodefile.Section, rule *alert.Rule, add func(key, format string, args ...any)) {
	gap := rule.Above - rule.ClearBelow
	for key, l := range map[string]level{"above": r.Above, "clear_below": r.ClearBelow} {
		switch {
		case s.Has(key) && !rule.Kind.Measures():
			add(key, "a %s alert goes by no figure; remove it", rule.Kind)
			return
		case l.duration && rule.Kind != alert.Backlog:
			add(key, "must be a number: a %s is no duration", rule.Kind)
			return
		}
	}
	if s.Has("above") {
		rule.Above = r.Above.value
		if rule.ClearBelow = rule.Above - gap; rule.Kind == alert.Backlog {
			rule.ClearBelow = rule.Above / 10
		}
	}
	if s.Has("clear_below") {
		if rule.ClearBelow = r.ClearBelow.value; rule.ClearBelow > rule.Above {
			add("clear_below", "must not be more than above (%g)", rule.Above)
		}
	}
}

// AlertTarget is somebody who is told of alerts.
type AlertTarget struct {
	Name    string   `toml:"name"`
	Kind    string   `toml:"kind"`
	Enabled bool     `toml:"enabled"`
	Alerts  []string `toml:"alerts"`
	Quiet   []string `toml:"quiet"`

	URL         string            `toml:"url"`
	Template    string            `toml:"template"`
	Body        string            `toml:"body"`
	ContentType string            `toml:"content_type"`
	Headers     map[string]string `toml:"headers"`
	HeaderFiles map[string]string `toml:"header_files"`
	TokenFile   string            `toml:"token_file"`
	ChatID      string            `toml:"chat_id"`
	Timeout     nodefile.Duration `toml:"timeout"`

	Command  []string `toml:"command"`
	Database string   `toml:"database"`

	Token string      `toml:"-"` // what the file held
	Hours alert.Hours `toml:"-"` // what Quiet says
}

// The kinds of targets.
const (
	WebhookTarget = "webhook"
	CommandTarget = "command"
	LineTarget    = "line"
)

// ofTarget names the options that only one kind of target has.
var ofTarget = map[string]string{
	"url": WebhookTarget, "template": WebhookTarget, "body": WebhookTarget, "content_type": WebhookTarget, "headers": WebhookTarget,
	"header_files": WebhookTarget, "token_file": WebhookTarget, "chat_id": WebhookTarget, "command": CommandTarget, "database": LineTarget,
}

func (c *Config) decodeAlertTargets(s *nodefile.Section) []error {
	lines := 0
	return eachNamed(s, "alert_targets", "%q is the name of two targets; give each its own", func(table *nodefile.Section) (string, []error) {
		t := AlertTarget{Enabled: true, Timeout: nodefile.Duration(10 * time.Second)}
		errs := renamed(table, map[string]string{
			"token": "token_file, which names a file that holds the token", "password": "header_files, with the file of an Authorization header",
		})
		if err := table.Decode(&t); err != nil {
			errs = append(errs, err)
		}
		if t.Name == "" {
			t.Name = t.Kind
		}
		errs = append(errs, t.validate(table)...)
		if t.Kind == LineTarget {
			if lines++; lines > 1 {
				errs = append(errs, table.Errorf("kind", "there can be only one target that writes lines; remove the others"))
			}
		}
		c.AlertTargets = append(c.AlertTargets, t)
		return t.Name, errs
	})
}

func (t *AlertTarget) validate(s *nodefile.Section) (errs []error) {
	add := func(key, format string, args ...any) { errs = append(errs, s.Errorf(key, format, args...)) }
	kinds := []string{WebhookTarget, CommandTarget, LineTarget}
	if !slices.Contains(kinds, t.Kind) {
		return []error{s.Errorf("kind", `must be "webhook", "command" or "line"`)}
	}
	for key, kind := range ofTarget {
		if s.Has(key) && kind != t.Kind {
			add(key, "belongs to kind = %q", kind)
		}
	}
	if !alertName.MatchString(t.Name) {
		add("name", "%q is no name; use letters, digits, dots, dashes and underscores", t.Name)
	}
	if t.Name == LineTarget && t.Kind != LineTarget {
		add("name", "%q is the name of the target that writes lines, which is there by itself; choose another", t.Name)
	}
	if t.Timeout < nodefile.Duration(100*time.Millisecond) {
		add("timeout", "must be at least 100ms")
	}
	for _, pattern := range t.Alerts {
		if _, err := glob.Compile(pattern); err != nil {
			add("alerts", "%q is no pattern: %v", pattern, err)
		}
	}
	var err error
	if t.Hours, err = alert.ParseHours(t.Quiet); err != nil {
		add("quiet", "%v", err)
	}
	if t.Kind == LineTarget && (s.Has("quiet") || s.Has("alerts")) {
		add("kind", "lines are of every alert, at any time; remove alerts and quiet")
	}
	switch {
	case t.Kind == CommandTarget && len(t.Command) == 0:
		add("command", `is missing; write command = ["/usr/local/bin/tell-me"]`)
	case t.Kind == CommandTarget && !filepath.IsAbs(t.Command[0]):
		add("command", "%q must be a path from the root: which program it is must not depend on the environment", t.Command[0])
	case t.Kind == WebhookTarget:
		t.validateWebhook(s, add)
	}
	return errs
}

func (t *AlertTarget) validateWebhook(s *nodefile.Section, add func(key, format string, args ...any)) {
	telegram := t.Template == "telegram"
	if !(telegram && t.URL == "") {
		t.checkURL(add)
	}
	if t.Body != "" && t.Template != "" {
		add("body", "takes the place of a template; remove one of the two")
	}
	if telegram != (t.ChatID != "") {
		add("chat_id", `template = "telegram" and chat_id go together; one of them is missing`)
	}
	var err error
	if t.Token, err = secret(t.TokenFile); err != nil {
		add("token_file", "%v", err)
	} else if telegram && t.Token == "" {
		add("token_file", "is missing; name the file that holds the bot's token")
	}
	headers := map[string]string{}
	for key, value := range t.Headers {
		headers[http.CanonicalHeaderKey(key)] = value
	}
	for key, path := range t.HeaderFiles {
		text, err := secret(path)
		if err != nil {
			add("header_files."+key, "%v", err)
		}
		headers[http.CanonicalHeaderKey(key)] = text
	}
	t.Headers = headers
	if _, err := alert.NewWebhook(t.Webhook("")); err != nil {
		key := "template"
		if t.Body != "" {
			key = "body"
		}
		add(key, "%v", err)
	}
}

func (t *AlertTarget) checkURL(add func(key, format string, args ...any)) {
	req, err := http.NewRequest(http.MethodPost, t.URL, nil)
	switch {
	case t.URL == "":
		add("url", `is missing; write url = "https://ntfy.sh/my-nodes", or where else messages are posted to`)
	case err != nil || req.URL.Host == "" || (req.URL.Scheme != "http" && req.URL.Scheme != "https"):
		add("url", `must be like "https://ntfy.sh/my-nodes"`)
	case req.URL.User != nil:
		add("url", "must not hold credentials; use token_file, or header_files")
	}
}

// Webhook is the target as package alert takes it.
func (t *AlertTarget) Webhook(userAgent string) alert.WebhookConfig {
	return alert.WebhookConfig{
		URL: t.URL, Template: t.Template, Body: t.Body, ContentType: t.ContentType, Headers: t.Headers,
		Token: t.Token, ChatID: t.ChatID, Timeout: t.Timeout.Std(), UserAgent: userAgent,
	}
}
