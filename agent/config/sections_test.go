package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSelectors(t *testing.T) {
	const file = "[[outputs.file]]\n" +
		"[[inputs.cpu]]\nalias = 'a'\n[inputs.cpu.labels]\nsite = 'north-1'\nrole = 'db'\n" +
		"[[inputs.cpu]]\nalias = 'b'\nlabels = {site = 'south.2', role = 'db'}\n" +
		"[[inputs.cpu]]\nalias = 'c'\n"
	f := func(want string, selectors ...string) {
		t.Helper()
		var o Options
		for _, text := range selectors {
			s, err := ParseSelector(text)
			if err != nil {
				t.Fatal(err)
			}
			o.Select = append(o.Select, s)
		}
		c, err := load(t, file, o)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, in := range c.Inputs {
			got += in.Alias
		}
		if got != want {
			t.Errorf("%q selects %s, want %s", selectors, got, want)
		}
	}
	f("abc")
	f("ac", "site=north-1")
	f("abc", "role=db")
	f("bc", "role=db;site=south.2")
	f("c", "role=db;site=west")
	f("abc", "site=north-1", "site=south.2")
	f("abc", "site=*")
	f("ac", "site=north-?")
	f("bc", "site=s*")
	f("c", "site=*-")
	f("c", "other=*")
	f("ac", " site = north-1 ")
}

func TestSelectorsThatAreNone(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := ParseSelector(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
	f("", "is not a selector")
	f("site", "is not a selector")
	f("site=", "is not a selector")
	f("=a", "is not a selector")
	f("site=a b", "is not a selector")
	f("site=[ab]", "is not a selector")
	f("site=a;", "is not a selector")
	f("si*te=a", "is not a selector")
	f("site=a;site=b", "names the label site twice")
}

func TestLabelsThatAreNone(t *testing.T) {
	f := func(text string, o Options, want string) {
		t.Helper()
		if _, err := load(t, text+"[[outputs.file]]\n", o); err == nil || err.Error() != want {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
	f("[[inputs.cpu]]\n[inputs.cpu.labels]\n'a b' = 'x'\n", Options{}, "node.toml:3: inputs.cpu.labels.a b: a label is made of letters, digits, dots, dashes and underscores")
	f("[[inputs.cpu]]\nlabels = 'x'\n", Options{}, "node.toml:2: inputs.cpu.labels: must be a table, not a string")
	f("[[inputs.cpu]]\nlabels = {a = 'b'}\n", Options{Select: []Selector{{"a": "c"}}}, "--select leaves none of the inputs of node.toml")
}

func TestPluginsThatThereAreNot(t *testing.T) {
	const file = "[[inputs.cpu]]\n[[inputs.docker]]\n  endpoint = 'x'\n[[inputs.docker]]\n[[outputs.file]]\n[[outputs.kafka]]\n[[processors.rename]]\n[[aggregators.minmax]]\n[[inputs.weather_station]]\n"
	_, err := load(t, file, Options{})
	want := "node.toml:2: inputs.docker: Telegraf has this input, vitals-agent has not\n" +
		"node.toml:4: inputs.docker: Telegraf has this input, vitals-agent has not\n" +
		"node.toml:6: outputs.kafka: Telegraf has this output, vitals-agent has not\n" +
		"node.toml:7: processors.rename: this version of vitals-agent has no processors yet; remove the table\n" +
		"node.toml:8: aggregators.minmax: this version of vitals-agent has no aggregators yet; remove the table\n" +
		"node.toml:9: inputs.weather_station: there is no such collector. It is not built in (those are cpu, mem, ram)"
	if err == nil || !strings.HasPrefix(err.Error(), want) ||
		!strings.Contains(err.Error(), "\nnot in vitals-agent: aggregators.minmax, inputs.docker, outputs.kafka, processors.rename. An input can be run") ||
		!strings.HasSuffix(err.Error(), "--skip-unknown-plugins starts with all others") {
		t.Errorf("got\n%v\nwant\n%s…", err, want)
	}
	c, err := load(t, file, Options{SkipUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Inputs) != 1 || c.Inputs[0].Name != "cpu" || len(c.Outputs) != 1 || c.Outputs[0].Name != "file" {
		t.Errorf("%+v %+v", c.Inputs, c.Outputs)
	}
	var skipped []string
	for _, s := range c.Skipped {
		skipped = append(skipped, filepath.Base(s))
	}
	const left = ": vitals-agent has no such plugin, so its table is left out"
	if d := cmp.Diff([]string{
		"node.toml:7:1: processors.rename" + left, "node.toml:8:1: aggregators.minmax" + left, "node.toml:2:1: inputs.docker" + left,
		"node.toml:4:1: inputs.docker" + left, "node.toml:9:1: inputs.weather_station" + left, "node.toml:6:1: outputs.kafka" + left,
	}, skipped); d != "" {
		t.Error(d)
	}
	_, err = load(t, "[[inputs.docker]]\n[[outputs.file]]\n", Options{SkipUnknown: true})
	if err == nil || err.Error() != "none of the inputs of node.toml is one that vitals-agent has" {
		t.Error(err)
	}
}

func TestSecrets(t *testing.T) {
	dir := tree(t, "run/db", "s3cret-db\n", "run/two", "a\nb\r\n", "run/pre_db", "prefixed", "credentials/token", "t0ken-of-systemd")
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, "credentials"))
	t.Setenv("V_SECRET", "from-environment")
	t.Setenv("V_REFERENCE", "@{files:db}")
	stores := strings.ReplaceAll(`
[[secretstores.docker]]
  id = "docker"
  path = "$DIR/run"
  dynamic = true
[[secretstores.files]]
  id = "files"
  path = "$DIR/run"
[[secretstores.files]]
  id = "pre"
  path = "$DIR/run"
  prefix = "pre_"
[[secretstores.systemd]]
  id = "systemd"
[[secretstores.environment]]
  id = "env"
  prefix = "V_"
`, "$DIR", dir)
	f := func(text, want string) {
		t.Helper()
		c, err := load(t, "[[inputs.cpu]]\nunit = '"+text+"'\n[[outputs.file]]\n"+stores, Options{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if got := string(c.Inputs[0].JSON); got != `{"unit":"`+want+`"}` {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	f("@{docker:db}", "s3cret-db")
	f("@{files:db}", "s3cret-db")
	f("@{pre:db}", "prefixed")
	f("@{files:two}", `a\nb`)
	f("@{systemd:token}", "t0ken-of-systemd")
	f("@{env:SECRET}", "from-environment")
	f("x@{env:SECRET}y@{docker:db}z", "xfrom-environmentys3cret-dbz")
	f("$V_REFERENCE", "s3cret-db")
	f("@{docker}", "@{docker}")
	f("@{docker:d-b}", "@{docker:d-b}")
	c, err := load(t, `
[[outputs.influxdb]]
  urls = ["http://@{docker:db}:8086"]
  username = "u"
  password = "@{docker:db}"
  [outputs.influxdb.http_headers]
    X-Key = "Bearer @{systemd:token}"
[[inputs.cpu]]
  [inputs.cpu.tags]
    a = "@{env:SECRET}"
[global_tags]
  b = "@{env:SECRET}"
[agent]
  hostname = "@{pre:db}"
`+stores, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := c.Outputs[0]
	if o.Password != "s3cret-db" || o.Headers["X-Key"] != "Bearer t0ken-of-systemd" || o.URLs[0] != "http://s3cret-db:8086" {
		t.Errorf("output: %+v", o)
	}
	if c.Inputs[0].Tags["a"] != "from-environment" || c.Tags["b"] != "from-environment" || c.Host != "prefixed" {
		t.Errorf("tags: %v %v %s", c.Inputs[0].Tags, c.Tags, c.Host)
	}
}

func TestSecretsThatCannotBeHad(t *testing.T) {
	dir := tree(t, "run/db", "canary")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if err := os.Unsetenv("CREDENTIALS_DIRECTORY"); err != nil {
		t.Fatal(err)
	}
	const store = "[[secretstores.docker]]\nid = 'docker'\npath = '$RUN'\n"
	f := func(name, text string, want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			_, err := load(t, strings.ReplaceAll(text, "$RUN", dir+"/run")+"[[inputs.cpu]]\n[[outputs.file]]\n", Options{})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in %v", w, err)
				}
			}
		})
	}
	f("no store", "[global_tags]\na = '@{docker:db}'\n", "node.toml:2: global_tags.a: the secret @{docker:db} cannot be had: there is no secret store with the id \"docker\"; add one, such as [[secretstores.docker]]")
	f("misspelt store", store+"[global_tags]\na = '@{doker:db}'\n", "node.toml:5: global_tags.a: the secret @{doker:db} cannot be had", `did you mean "docker"?`)
	f("another store", store+"[global_tags]\na = '@{vault:db}'\n", `the id "vault"; there are docker`)
	f("no key", store+"[global_tags]\na = '@{docker:gone}'\n", "node.toml:5: global_tags.a: the secret @{docker:gone} cannot be had: there is no file "+dir+"/run/gone")
	f("no variable", "[[secretstores.environment]]\nid = 'e'\nprefix = 'V_GONE_'\n[global_tags]\na = '@{e:x}'\n", "the environment variable V_GONE_x is not set")
	f("no id", "[[secretstores.docker]]\n", "node.toml:1: secretstores.docker.id: is missing")
	f("bad id", "[[secretstores.docker]]\nid = 'a b'\n", "node.toml:2: secretstores.docker.id: is made of letters")
	f("id twice", store+store, "node.toml:5: secretstores.docker.id: \"docker\" is the id of two secret stores")
	f("no such kind", "[[secretstores.os]]\nid = 'a'\n", "node.toml:1: secretstores.os: vitals-agent has no such secret store; it has docker, environment, files, systemd")
	f("no directory", "[[secretstores.files]]\nid = 'a'\n", "node.toml:1: secretstores.files.path: is missing")
	f("no credentials", "[[secretstores.systemd]]\nid = 'a'\n", "$CREDENTIALS_DIRECTORY is not set; pass the secrets on with LoadCredential=")
	f("misspelt option", "[[secretstores.docker]]\nid = 'a'\npaht = 'x'\n", `node.toml:3: secretstores.docker.paht: unknown option; did you mean "path"?`)
}

func TestMistakesDoNotTellSecrets(t *testing.T) {
	dir := tree(t, "run/key", "canary\"\\\n", "run/short", "abc")
	f := func(text string) {
		t.Helper()
		c, err := load(t, text+"[[inputs.cpu]]\n[[outputs.file]]\n[[secretstores.files]]\nid = 's'\npath = '"+dir+"/run'\n", Options{})
		if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "***") {
			t.Errorf("%s: %v", text, err)
		}
		if strings.Contains(strings.Join(c.Warnings, " "), "canary") {
			t.Errorf("%s: %v", text, c.Warnings)
		}
	}
	f("[agent]\nbuffer_strategy = '@{s:key}'\n")
	f("[agent]\ninterval = '@{s:key}'\n")
	f("[agent]\nplugin_user = '@{s:key}'\n")
	f("[[outputs.influxdb]]\nurls = ['@{s:key}']\n")
	f("[[inputs.cpu]]\nlog_level = '@{s:key}'\n")
	f("[[inputs.cpu]]\npercpu = '@{s:key}'\n")
}

func TestVariablesInCollectorsOptions(t *testing.T) {
	t.Setenv("V_TRUE", "true")
	t.Setenv("V_NUMBER", "7")
	c, err := load(t, "[[inputs.cpu]]\npercpu = '$V_TRUE'\nunit = '$V_NUMBER'\n[[outputs.file]]\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Inputs[0].TOML); got != "percpu = true\nunit = \"7\"\n" {
		t.Errorf("%q", got)
	}
	_, err = load(t, "[[inputs.cpu]]\npercpu = '$V_NUMBER'\n[[outputs.file]]\n", Options{})
	if err == nil || err.Error() != "node.toml:2: inputs.cpu.percpu: expected true or false, not 7" {
		t.Error(err)
	}
	// What a drop-in refuses is known only once it runs.
	c, err = load(t, "[agent]\nplugin_directory = ['$DIR']\n[[inputs.dice]]\nsides = '$V_NUMBER'\nname = '$V_NUMBER'\n[[outputs.file]]\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, was := c.Inputs[0], c.Inputs[0]
	if !in.Coerce("sides") || string(in.JSON) != `{"name":"7","sides":7}` || string(was.JSON) != `{"name":"7","sides":"7"}` {
		t.Errorf("%s, was %s", in.JSON, was.JSON)
	}
	if in.Coerce("sides") || in.Coerce("nothing", "") || !was.Coerce("sides") {
		t.Error("coercing does not say whether it has changed anything")
	}
}
