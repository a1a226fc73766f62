package ingest

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/line"
)

// Whoever writes to a relay sets aside all that it refuses, also where these are
// more lines than an answer can name, or longer ones than it quotes.
func TestAllThatIsRefusedIsSetAside(t *testing.T) {
	var lines, good, bad []string
	for i := range 2400 {
		tag, to := "short", &good
		switch {
		case i%60 == 1:
			tag, to = strings.Repeat("longer", 40), &bad
		case i%3 > 0:
			tag, to = strings.Repeat("long", 10), &bad
		}
		lines = append(lines, fmt.Sprintf("m,i=%d,t=%s v=1 1", i, tag))
		*to = append(*to, lines[i])
	}
	for version := 1; version <= 3; version++ {
		kept := &memory{}
		server := httptest.NewServer(New(Config{
			Queue: kept, Databases: &databases{}, Lines: line.Limits{TagValue: 20},
			MaxBody: 8 << 20, MaxCompressedBody: 8 << 20, MaxInFlight: 64 << 20,
		}))
		client, err := influx.NewClient(influx.Config{URLs: []string{server.URL}, Version: version, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		var aside []string
		sender := influx.Sender{Client: client, Rejected: func(_ influx.Target, text []byte, _ string) error {
			aside = append(aside, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
			return nil
		}}
		body := influx.Gzip(nil, []byte(strings.Join(lines, "\n")+"\n"))
		if err := sender.Deliver(t.Context(), influx.Target{Database: "d"}, influx.Batch{Body: body, Lines: len(lines)}); err != nil {
			t.Errorf("version %d: %v", version, err)
		}
		var stored []string
		for l := range strings.Lines(kept.text(t)) {
			if strings.HasPrefix(l, "m,") {
				stored = append(stored, strings.TrimSuffix(l, "\n"))
			}
		}
		for what, lists := range map[string][2][]string{"set aside": {aside, bad}, "stored": {stored, good}} {
			got, want := slices.Sorted(slices.Values(lists[0])), slices.Sorted(slices.Values(lists[1]))
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("version %d: %d lines are %s, want %d", version, len(got), what, len(want))
			}
		}
		client.Close()
		server.Close()
	}
}
