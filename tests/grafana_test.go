package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	schema "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	gtable "github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"go.yaml.in/yaml/v4"
)

// board is what these tests read of a dashboard.
type board struct {
	file          string
	UID, Title    string
	SchemaVersion int
	Refresh       string
	Time          struct{ From, To string }
	Panels        []panel
	Templating    struct{ List []variable }
	Annotations   struct{ List []annotation }
}

type source struct{ Type, UID string }

type panel struct {
	answered              bool // all its queries have had rows
	ID                    int
	Type, Title, Interval string
	Datasource            *source
	GridPos               struct{ X, Y, W, H int }
	Targets               []asked
	FieldConfig           struct {
		Defaults  struct{ Unit string }
		Overrides []override
	}
	Options struct {
		SortBy        []struct{ DisplayName string }
		ReduceOptions struct{ Fields string }
	}
	Transformations []struct {
		ID      string
		Options struct {
			ExcludeByName, IndexByName map[string]any
		}
	}
}

// override changes how some fields of a panel are shown.
type override struct {
	Matcher    struct{ ID, Options string }
	Properties []struct {
		ID    string
		Value any
	}
}

// asked is a query.
type asked struct {
	Datasource                 *source
	RefID, Query, Alias        string
	ResultFormat               string
	RawQuery, FromAnnotations  bool
	TextColumn, TagsColumn     string
	TimeEndColumn, TitleColumn string
}

type variable struct {
	Type, Name        string
	Query, Definition string
	Datasource        *source
	Multi             bool
	IncludeAll        bool
	AllValue          string
	Current           struct{ Value any }
}

type annotation struct {
	Name       string
	BuiltIn    int
	Datasource *source
	Target     *asked
}

func boards(t *testing.T) (all []board) {
	t.Helper()
	for _, name := range []string{"fleet", "node", "relay"} {
		file := filepath.Join(root, "deploy/grafana", name+".json")
		b := board{file: name + ".json"}
		if err := json.Unmarshal([]byte(content(t, file)), &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, b)
	}
	return all
}

// TestGrafanaKnowsTheDashboards decodes them strictly, as Grafana's own schema
// is, and looks for what that says nothing of.
func TestGrafanaKnowsTheDashboards(t *testing.T) {
	t.Parallel()
	for _, kind := range []variants.PanelcfgConfig{stat.VariantConfig(), statetimeline.VariantConfig(), gtable.VariantConfig(), timeseries.VariantConfig()} {
		cog.NewRuntime().RegisterPanelcfgVariant(kind)
	}
	known := unitsOfGrafana(t)
	uids := map[string]bool{}
	for _, b := range boards(t) {
		t.Run(b.file, func(t *testing.T) {
			var strict schema.Dashboard
			// It answers a sound one with a list of no errors, which is not nil.
			if err := strict.UnmarshalJSONStrict([]byte(content(t, filepath.Join(root, "deploy/grafana", b.file)))); err != nil && err.Error() != "" {
				t.Errorf("not of Grafana's schema: %v", err)
			}
			if newest := int(schema.NewDashboard().SchemaVersion); b.SchemaVersion != newest {
				t.Errorf("schemaVersion is %d, Grafana's %d", b.SchemaVersion, newest)
			}
			if uids[b.UID] || !strings.HasPrefix(b.UID, "vitals-") || b.Title == "" || b.Refresh == "" || b.Time.From == "" {
				t.Errorf("uid %q, title %q, refresh %q, time %v", b.UID, b.Title, b.Refresh, b.Time)
			}
			uids[b.UID] = true
			for i := range b.Panels {
				b.Panels[i].check(t, known)
				for j := range i {
					b.Panels[i].apart(t, &b.Panels[j])
				}
			}
			b.checkSources(t)
		})
	}
}

// check requires what everybody expects of a panel.
func (p *panel) check(t *testing.T, units map[string]bool) {
	t.Helper()
	if p.Title == "" || p.ID == 0 || p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > 24 {
		t.Errorf("panel %d %q at %+v", p.ID, p.Title, p.GridPos)
	}
	if p.Type == "row" {
		return
	}
	if p.Datasource == nil || len(p.Targets) == 0 {
		t.Errorf("panel %q asks nobody", p.Title)
	}
	requireUnit := func(unit any) {
		text, _ := unit.(string)
		if !units[text] && !strings.HasPrefix(text, "si: ") {
			t.Errorf("panel %q has the unit %q, which Grafana does not know", p.Title, unit)
		}
	}
	requireUnit(p.FieldConfig.Defaults.Unit)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID == "unit" {
				requireUnit(property.Value)
			}
		}
	}
}

// apart requires that two panels have an id each and do not overlap.
func (p *panel) apart(t *testing.T, q *panel) {
	t.Helper()
	if p.ID == q.ID {
		t.Errorf("%q and %q are both panel %d", p.Title, q.Title, p.ID)
	}
	a, b := p.GridPos, q.GridPos
	if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
		t.Errorf("%q at %+v overlaps %q at %+v", p.Title, a, q.Title, b)
	}
}

// checkSources requires that everything asks the datasource that is chosen on
// the page, but for what Grafana asks itself.
func (b *board) checkSources(t *testing.T) {
	t.Helper()
	chosen := source{"influxdb", "${datasource}"}
	all := map[string]*source{}
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			name := fmt.Sprintf("panel %d %q", p.ID, p.Title)
			all[name], all[name+" "+q.RefID] = p.Datasource, q.Datasource
		}
	}
	hasVariable := false
	for _, v := range b.Templating.List {
		hasVariable = hasVariable || v.Type == "datasource" && v.Name == "datasource" && v.Query == "influxdb"
		if v.Type == "query" {
			all["variable "+v.Name] = v.Datasource
		}
	}
	for _, a := range b.Annotations.List {
		if a.BuiltIn == 0 {
			all["annotation "+a.Name] = a.Datasource
		}
	}
	for what, is := range all {
		if is == nil || *is != chosen {
			t.Errorf("%s asks %v", what, is)
		}
	}
	if !hasVariable {
		t.Error("there is no variable datasource")
	}
}

// unitsOfGrafana are those that its schema has a name for.
func unitsOfGrafana(t *testing.T) map[string]bool {
	t.Helper()
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/grafana/grafana-foundation-sdk/go")
	list.Dir = root
	dir, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	units := map[string]bool{}
	text := content(t, filepath.Join(strings.TrimSpace(string(dir)), "units/types_gen.go"))
	for _, m := range regexp.MustCompile(`(?m)^const \w+ = "(.*)"$`).FindAllStringSubmatch(text, -1) {
		units[m[1]] = true
	}
	if len(units) < 100 {
		t.Fatalf("Grafana knows %d units", len(units))
	}
	return units
}

// provisioned is what the samples for provisioning tell Grafana.
type provisioned struct {
	APIVersion  int `yaml:"apiVersion"`
	Datasources []struct {
		Name, Type, Access, URL string
		JSONData                struct {
			Version  string
			Database string `yaml:"dbName"`
			Method   string `yaml:"httpMode"`
			Interval string `yaml:"timeInterval"`
		} `yaml:"jsonData"`
	}
	Providers []struct {
		Name, Type, Folder string
		Changeable         bool `yaml:"allowUiUpdates"`
		Options            struct{ Path string }
	}
}

func provisioning(t *testing.T, file string) (p provisioned) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(content(t, filepath.Join(root, "deploy/grafana/provisioning", file))))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if p.APIVersion != 1 {
		t.Errorf("%s: apiVersion is %d", file, p.APIVersion)
	}
	return p
}

// The machines of these tests: one with Telegraf's names, one with the
// cluster's.
const piName, crowName = "pi", "crow"

// recordings are lines that only other machines than this one have, as the
// collectors' own tests expect them.
var recordings = []struct{ folder, only string }{
	{"temperature/testdata/pi4-5.10", ""},
	{"raspberrypi/testdata/pi5-6.12", ""},
	{"raspberrypi/testdata/cm3-6.1-emmc", ""},
	{"disk/testdata/pi4-6.1", ""},
	{"diskio/testdata/pi4-6.1", ""},
	{"node/testdata/pi5-6.12-16k-pages", ""},
	{"cpu/testdata/pi5-6.12-frequency", "frequency_mhz"},
	{"cpu/testdata/pi5-6.12-cluster", ""},
	{"temperature/testdata/pi5-6.12-cluster", ""},
}

// recording is these lines at one time, of the two machines.
func recording(t *testing.T, at time.Time) string {
	t.Helper()
	var b strings.Builder
	for _, r := range recordings {
		n := b.Len()
		for line := range strings.Lines(content(t, filepath.Join(root, "plugins", r.folder, "want.lp"))) {
			line = strings.TrimSpace(line)
			if line == "" || !strings.Contains(line, r.only) {
				continue
			}
			if cluster := strings.Replace(line, ",node=testhost ", ",node="+crowName+" ", 1); cluster != line {
				line = cluster
			} else {
				name := strings.IndexAny(line, ", ")
				line = line[:name] + ",host=" + piName + line[name:]
			}
			fmt.Fprintf(&b, "%s %d\n", line, at.UnixNano())
		}
		if b.Len() == n {
			t.Fatalf("%s has no line", r.folder)
		}
	}
	return b.String()
}

// trouble is the part of a node file that makes the relay tell of an alert of a
// node, which the recorded temperature is enough for, and of one of a
// destination, which is not there.
func trouble(t *testing.T) string {
	return fmt.Sprintf(`
[[relay.destinations]]
  name = "away"
  url = "http://127.0.0.1:%d"
  required = false
[[relay.alerts]]
  kind = "temperature"
  above = 40
  for = "0s"
[[relay.alerts]]
  kind = "backlog"
  above = "1s"
  clear_below = "0s"
  for = "0s"
`, freePort(t))
}

// fleetOfTwo runs the two machines, with a relay and an InfluxDB, and returns
// where to write more.
func fleetOfTwo(t *testing.T, db *influxd) (write string) {
	t.Helper()
	m := newMachine(t)
	const guide = "deploy/grafana/README.md"
	url := m.relayInFront(db, strings.Replace(sampleWith(t, guide, "toml", "[relay.self]"), "10s", "1s", 1)+trouble(t))
	// A machine that is cut off has a loopback all the same.
	all := strings.Replace(sampleWith(t, guide, "toml", "[[inputs.cpu]]"), "[[inputs.net]]", "[[inputs.net]]\n  interfaces = [\"lo\"]", 1)
	for name, inputs := range map[string]string{
		piName:   all,
		crowName: "[[inputs.cpu]]\n  schema = \"cluster\"\n[[inputs.ram]]\n  schema = \"cluster\"\n[[inputs.swap]]\n  schema = \"cluster\"\n[[inputs.temperature]]\n  schema = \"cluster\"\n",
	} {
		node := newMachine(t)
		node.start("vitals-agent", "--config", node.file("node.toml", fmt.Sprintf(`
[agent]
  interval = "1s"
  flush_interval = "1s"
  hostname = %q
  buffer_directory = "$DIR/buffer"
%s
[[outputs.influxdb]]
  urls = [%q]
  database = "node_vitals"
  skip_database_creation = true
`, name, inputs, url)))
	}
	return url + "/write?db=node_vitals"
}

// grafana is Grafana as far as InfluxDB sees it.
type grafana struct {
	db       *influxd
	database string
	least    string // interval, as the datasource has it
}

// sees runs a query of a board and returns what it is answered, or what is
// wrong with that.
func (v *grafana) sees(b *board, p *panel, q *asked, now time.Time) ([]table, error) {
	interval := v.least
	if p.Interval != "" {
		interval = p.Interval
	}
	text := strings.NewReplacer(
		"$timeFilter", fmt.Sprintf("time >= %dms and time <= %dms", now.Add(-15*time.Minute).UnixMilli(), now.UnixMilli()),
		"$__interval", interval,
	).Replace(q.Query)
	for _, variable := range b.Templating.List {
		text = strings.ReplaceAll(text, "${"+variable.Name+":regex}", variable.pattern(b, text))
		if one, ok := variable.Current.Value.(string); ok {
			text = strings.ReplaceAll(text, "$"+variable.Name, one)
		}
	}
	if left := regexp.MustCompile(`\$[\w{]\S*`).FindString(text); left != "" {
		return nil, fmt.Errorf("nobody replaces %s", left)
	}
	tables, err := v.db.tables(v.database, text)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return tables, filled(tables, text)
}

// pattern is what ${name:regex} becomes: of one value, or of all.
func (v *variable) pattern(b *board, query string) string {
	switch {
	case v.IncludeAll && v.Name != "host":
		return v.AllValue
	case v.IncludeAll:
		return "(" + piName + "|" + crowName + ")"
	case b.UID == "vitals-relay":
		host, _ := os.Hostname()
		return regexp.QuoteMeta(host)
	case strings.Contains(query, `"node" =~`):
		return crowName
	}
	return piName
}

// filled requires a row, and a value in each column of some of them.
func filled(tables []table, query string) error {
	if len(tables) == 0 {
		return fmt.Errorf("no row for\n%s", query)
	}
	empty := map[string]bool{}
	for c, column := range tables[0].Columns {
		empty[column] = true
		for _, s := range tables {
			empty[column] = empty[column] && !slices.ContainsFunc(s.Values, func(row []any) bool { return row[c] != nil && row[c] != "" })
		}
		if empty[column] {
			return fmt.Errorf("no value of %q for\n%s", column, query)
		}
	}
	return nil
}

// names are what the fields of an answer are called in a panel.
func names(q *asked, tables []table) map[string]bool {
	all := map[string]bool{}
	for _, s := range tables {
		for _, column := range s.Columns {
			switch {
			case column == "time":
				all["Time"] = true
			case q.ResultFormat == "table":
				all[column] = true
			default:
				name := strings.ReplaceAll(q.Alias, "$col", column)
				for tag, value := range s.Tags {
					name = strings.ReplaceAll(name, "$tag_"+tag, value)
				}
				all[name] = true
			}
		}
		if q.ResultFormat == "table" {
			for tag := range s.Tags {
				all[tag] = true
			}
		}
	}
	return all
}

// fits requires that what a panel says of its fields is said of fields that it
// has.
func (p *panel) fits(has map[string]bool) (errs []error) {
	miss := func(what, name string) {
		errs = append(errs, fmt.Errorf("%s %q: it has %q", what, name, slices.Sorted(maps.Keys(has))))
	}
	shown := maps.Clone(has)
	for name := range has {
		if strings.Contains(name, "$") {
			miss("an alias asks for a tag that is not there", name)
		}
	}
	for _, o := range p.FieldConfig.Overrides {
		matches := func(name string) bool { return name == o.Matcher.Options }
		if o.Matcher.ID == "byRegexp" {
			matches = regexp.MustCompile(o.Matcher.Options).MatchString
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(has)), matches) {
			miss("an override of", o.Matcher.Options)
		}
		for _, property := range o.Properties {
			if property.ID == "displayName" {
				shown[fmt.Sprint(property.Value)] = true
			}
		}
	}
	for _, change := range p.Transformations {
		for name := range change.Options.ExcludeByName {
			if !has[name] {
				miss("it hides", name)
			}
		}
		for name := range change.Options.IndexByName {
			if !has[name] {
				miss("it orders", name)
			}
		}
	}
	for _, sort := range p.Options.SortBy {
		if !shown[sort.DisplayName] {
			miss("it sorts by", sort.DisplayName)
		}
	}
	if fields := p.Options.ReduceOptions.Fields; fields != "" && !slices.ContainsFunc(slices.Collect(maps.Keys(has)), regexp.MustCompile(strings.Trim(fields, "/")).MatchString) {
		miss("it shows", fields)
	}
	return errs
}

// joins requires of a panel that shows one figure that it gets one, and of one
// that merges rows that they are of one time: else they do not merge.
func (p *panel) joins(tables []table) error {
	merges, sums := false, false
	for _, change := range p.Transformations {
		merges, sums = merges || change.ID == "merge", sums || change.ID == "reduce"
	}
	figures, times := 0, map[any]bool{}
	for _, s := range tables {
		figures += len(s.Columns) - 1
		for _, row := range s.Values {
			times[row[0]] = true
		}
	}
	if p.Type == "stat" && !sums && figures != 1 {
		return fmt.Errorf("it shows %d figures and not one", figures)
	}
	if merges && len(times) != 1 {
		return fmt.Errorf("its rows are of %d times", len(times))
	}
	return nil
}

// unanswered is what of a board is empty or wrong.
func (v *grafana) unanswered(b *board) (errs []error) {
	for i := range b.Panels {
		p := &b.Panels[i]
		if p.answered {
			continue
		}
		has, now := map[string]bool{}, time.Now()
		var all []table
		var wrong []error
		for j := range p.Targets {
			tables, err := v.sees(b, p, &p.Targets[j], now)
			all, wrong = append(all, tables...), append(wrong, err)
			maps.Copy(has, names(&p.Targets[j], tables))
		}
		if errors.Join(wrong...) == nil {
			wrong = append(p.fits(has), p.joins(all))
		}
		p.answered = errors.Join(wrong...) == nil
		if err := errors.Join(wrong...); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q: %w", b.file, p.Title, err))
		}
	}
	for _, a := range b.Annotations.List {
		if a.Target == nil {
			continue
		}
		tables, err := v.sees(b, &panel{}, a.Target, time.Now())
		for _, column := range append(strings.Split(a.Target.TagsColumn, ","), a.Target.TextColumn) {
			if err == nil && !slices.Contains(tables[0].Columns, column) {
				err = fmt.Errorf("it has no column %q", column)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: annotation %q: %w", b.file, a.Name, err))
		}
	}
	return append(errs, v.choices(b)...)
}

// choices is what is wrong with what there is to choose from.
func (v *grafana) choices(b *board) (errs []error) {
	host, _ := os.Hostname()
	expected := map[string][]string{
		"vitals-fleet host": {piName, crowName}, "vitals-node host": {piName, crowName},
		"vitals-relay host": {host}, "vitals-relay destination": {"influxdb", "away"},
	}
	for _, variable := range b.Templating.List {
		if variable.Type != "query" {
			continue
		}
		tables, err := v.db.tables(v.database, variable.Query)
		var values []string
		for _, s := range tables {
			for _, row := range s.Values {
				values = append(values, fmt.Sprint(row[1]))
			}
		}
		want := expected[b.UID+" "+variable.Name]
		for _, value := range want {
			if !slices.Contains(values, value) {
				err = errors.Join(err, fmt.Errorf("no %s among %v", value, values))
			}
		}
		if err != nil || want == nil || variable.Definition != variable.Query {
			errs = append(errs, fmt.Errorf("%s: variable %s (%s): %w", b.file, variable.Name, variable.Definition, err))
		}
	}
	return errs
}

// TestGrafanaHasRowsForEveryPanel asks an InfluxDB, which real agents have
// filled through a real relay, all that the dashboards ask.
func TestGrafanaHasRowsForEveryPanel(t *testing.T) {
	t.Parallel()
	sample := provisioning(t, "datasources/vitals.yaml").Datasources
	if len(sample) != 1 || sample[0].Type != "influxdb" || sample[0].Access != "proxy" || sample[0].JSONData.Version != "InfluxQL" {
		t.Fatalf("the datasource is %+v", sample)
	}
	db := startInfluxd(t)
	write := fleetOfTwo(t, db)
	v := &grafana{db: db, database: sample[0].JSONData.Database, least: sample[0].JSONData.Interval}
	all, asks := boards(t), 0
	for _, b := range all {
		for _, p := range b.Panels {
			asks += len(p.Targets)
		}
	}
	// Figures of counters need two of the datasource's intervals.
	eventually(t, 4*time.Minute, func() string {
		now := time.Now().Truncate(time.Second)
		resp, err := http.Post(write, "", bytes.NewReader([]byte(recording(t, now))))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Fatalf("recorded lines are answered %s", resp.Status)
		}
		var errs []error
		for i := range all {
			errs = append(errs, v.unanswered(&all[i])...)
		}
		if err := errors.Join(errs...); err != nil {
			return err.Error()
		}
		return ""
	})
	t.Logf("%d queries of panels have rows", asks)
}

// TestGrafanaIsGivenItsFiles installs them as the guide says, and looks for the
// dashboards where the provider does.
func TestGrafanaIsGivenItsFiles(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	script := sampleWith(t, "deploy/grafana/README.md", "sh", "install -D")
	for _, path := range []string{"/etc/", "/var/"} {
		script = strings.ReplaceAll(script, " "+path, " "+m.dir+path)
	}
	sh := m.command("sh", "-euxc", strings.Replace(script, "systemctl restart grafana-server\n", "", 1))
	sh.Dir = filepath.Join(root, "deploy/grafana")
	if stdout, stderr, code := run(t, sh); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	p := provisioning(t, "dashboards/vitals.yaml").Providers
	if len(p) != 1 || p[0].Type != "file" || p[0].Name == "" {
		t.Fatalf("the provider of dashboards is %+v", p)
	}
	for _, b := range boards(t) {
		if m.read(filepath.Join(p[0].Options.Path, b.file)) == "" {
			t.Errorf("%s is not in %s", b.file, p[0].Options.Path)
		}
	}
	for _, kind := range []string{"datasources", "dashboards"} {
		if m.read("etc/grafana/provisioning/"+kind+"/vitals.yaml") == "" {
			t.Errorf("Grafana is not told of %s", kind)
		}
	}
}
