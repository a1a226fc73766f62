package ingest

import (
	"errors"
	"strings"
	"testing"
)

func TestNoRetryAfterForWhoMisreadsIt(t *testing.T) {
	d := newDoor()
	d.queue.fails = errors.New("full")
	for agent, want := range map[string]bool{"": true, "Telegraf/1.39.3": true, "influxdb-client-js/1.35.0": false} {
		for _, target := range []string{"/write?db=d", "/api/v2/write?bucket=d"} {
			resp := d.do(t, "POST", target, map[string]string{"User-Agent": agent}, strings.NewReader("m v=1 1\n"))
			if got := resp.Header.Get("Retry-After") != ""; resp.StatusCode != 503 || got != want {
				t.Errorf("%s, %q: %d, Retry-After %q", target, agent, resp.StatusCode, resp.Header.Get("Retry-After"))
			}
		}
	}
}
