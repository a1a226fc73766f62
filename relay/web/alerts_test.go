package web

import (
	"strings"
	"testing"
)

// What fires is on the first page; the relay's tells the rules and the targets,
// too.
func TestAlertsAreShown(t *testing.T) {
	h, _ := api(t)
	_, body := ask(t, h, "GET", "/")
	contains(t, body, `<b>full</b> <a href="/nodes/pi-1">pi-1</a>: / 98 % full, more than 95 %`, `<a href="/relay">influxdb</a>: &lt;img onerror=x&gt;`, `silenced</span>`)
	_, body = ask(t, h, "GET", "/relay")
	contains(t, body, "/ 98 % full", "<td>down for 2 of its intervals</td>",
		"<td>fullest file system above 95 % for 1m, until below 93 %; of pi-*; not told Mon-Fri 22:00-06:00</td>",
		"<b>phone</b>", "it answers 401", "Silenced: influxdb until ")
	if strings.Contains(body, "Nobody is told") {
		t.Error("it says that nobody is told")
	}
}
