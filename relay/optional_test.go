package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
)

// appendTo adds text to a node file.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, append(must(os.ReadFile(path)), text...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// noise are lines that do not become smaller.
func noise(r *rand.Rand, lines int) string {
	var b bytes.Buffer
	for range lines {
		fmt.Fprintf(&b, "m,host=a v=%d,w=%d %d\n", r.Uint64()>>1, r.Uint64()>>1, r.Uint64()>>2)
	}
	return b.String()
}

// A destination that is down fills the queue: if it is required writers are
// refused, else its oldest lines go.
func TestADestinationThatIsDown(t *testing.T) {
	for _, required := range []bool{true, false} {
		up, down := newInflux(t), newInflux(t)
		down.set(true)
		config := nodeFile(t, t.TempDir(), map[string]string{"up": up.URL})
		appendTo(t, config, fmt.Sprintf("[[relay.destinations]]\nname = \"down\"\nurl = %q\nrequired = %v\n[relay.queue]\nmax_bytes = \"256KB\"\n", down.URL, required))
		p := start(t, config)
		seed := rand.New(rand.NewPCG(1, 2))
		statuses := map[int]int{}
		for range 60 {
			resp, err := http.Post(p.url+"/write?db=node_vitals", "", strings.NewReader(noise(seed, 200)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			statuses[resp.StatusCode]++
			p.eventually("the one that is up has it", func() bool { return p.status().Destinations[0].Backlog.Lines == 0 })
		}
		if required != (statuses[503] > 0) || statuses[204] == 0 || len(statuses) > 2 {
			t.Errorf("required: %v; answers %v", required, statuses)
		}
		if _, err := command(t, "alive"); err != nil {
			t.Errorf("a destination that is away is held against the relay: %v", err)
		}
		out, err := command(t, "status")
		dropped := p.status().Destinations[1].Backlog.DroppedLines
		if alarm := fmt.Sprintf("ALARM: down: %d lines it has not got were dropped", dropped); required != (dropped == 0) || !required && !strings.Contains(out, alarm) {
			t.Errorf("required: %v; %d lines were dropped\n%v\n%s", required, dropped, err, out)
		}
		if n := p.status().Destinations[0].Backlog.DroppedLines; n != 0 {
			t.Errorf("the one that is up lost %d lines", n)
		}
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
