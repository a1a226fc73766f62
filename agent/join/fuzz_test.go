package join

import (
	"encoding/json"
	"testing"

	"github.com/BurntSushi/toml"
)

// FuzzAnswer has a relay answer anything: a node file made of it says what was
// answered, and nothing else.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"node":"pi-7","token":"vt_abcdefgh_ij","token_id":"x","database":"node_vitals","tags":{"site":"attic"},"interval":"10s"}`,
		`{"node":"a\"]\n[relay]","token":"vt_abcdefgh_ij","database":"\u0000\u007f","tags":{"a = 1\nb":"\\"},"interval":""}`,
		`{"node":"${HOME}","token":"vt_abcdefgh_ij","database":"@{a:b}","tags":null,"interval":"1h"}`,
		`{"tags":{"":""}}`, `null`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var a Answer
		if json.Unmarshal([]byte(text), &a) != nil || a.check() != nil {
			return
		}
		n := &Note{Relay: "https://10.7.0.1:8186", Node: a.Node, Database: a.Database, Tags: a.Tags, Interval: a.Interval}
		var got struct {
			Agent struct{ Interval, Hostname string }
			Tags  map[string]string `toml:"global_tags"`
			Relay any
			Out   struct {
				Influx []struct {
					Database, Password string
					URLs               []string
				} `toml:"influxdb"`
			} `toml:"outputs"`
		}
		written := string(n.nodeFile(secretsDirectory, true))
		if _, err := toml.Decode(written, &got); err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if got.Agent.Hostname != a.Node || got.Agent.Interval != a.Interval || got.Relay != nil || len(got.Tags) != len(a.Tags) ||
			len(got.Out.Influx) != 1 || got.Out.Influx[0].Database != a.Database || got.Out.Influx[0].Password != "@{vitals:relay}" {
			t.Fatalf("%+v\n%s", got, written)
		}
		for k, v := range a.Tags {
			if got.Tags[k] != v {
				t.Fatalf("tag %q is %q", k, got.Tags[k])
			}
		}
	})
}

// FuzzNormalize has somebody type anything.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"9trd 8wvb-K7QX4M2P", "OIL0-1111-2222-3333", "", "ıııııııııııııııı", "9TRD-8WVB-K7QX-4M2P\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, err := Normalize(typed)
		if err != nil {
			return
		}
		if len(code) != 19 {
			t.Fatalf("%q", code)
		}
		if again, err := Normalize(code); err != nil || again != code {
			t.Fatalf("%q becomes %q, %v", code, again, err)
		}
	})
}
