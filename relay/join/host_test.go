package join

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/relay/auth"
)

func TestHostsThatMayStandInAScript(t *testing.T) {
	for _, host := range []string{"10.7.0.1:8186", "10.7.0.1", "relay", "relay.local:8186", "a_b.example", "[fd00::1]:8186", "[::1]", "xn--bcher-kva.example:1"} {
		if !CheckHost(host) {
			t.Errorf("%q is refused", host)
		}
	}
	for _, host := range []string{
		"", ":8186", "'", "a'b", "a b", "a;b", "$(id)", "`id`", "a\nb", "a/b", "a@b", "a?b", "a#b", "a%62", `a\`, "-a", "a:", "a:0", "a:65536", "a:+1", "a:01", "a:b",
		"[fe80::1%eth0]:1", "[fe80::1%25eth0]:1", "[fd00::1", "fd00::1", "[1.2.3.4]", "[a]", "ä", strings.Repeat("a", 300), "a:1:2", "@RELAY@",
	} {
		if CheckHost(host) {
			t.Errorf("%q is taken", host)
		}
	}
}

func TestTheScriptNamesTheAddressAsked(t *testing.T) {
	l := newLab(t, auth.Required)
	f := func(what, want, pin string, change func(*http.Request)) {
		t.Helper()
		text := l.ask("GET", "/join", "", change).Body.String()
		if !strings.Contains(text, "\nrelay='"+want+"'\n") || !strings.Contains(text, "\npin='"+pin+"' #") {
			t.Errorf("%s: not %s, %s:\n%.600s", what, want, pin, text)
		}
	}
	f("plain", "http://10.7.0.1:8186", "", nil)
	f("TLS", "https://10.7.0.1:8186", aPin, secured)
	f("a name", "https://primary.lan", aPin, func(r *http.Request) { secured(r); r.Host = "primary.lan" })
	f("none", "https://10.7.0.1:8186", aPin, func(r *http.Request) { secured(r); r.Host = "" })
	f("a bad one", "https://10.7.0.1:8186", aPin, func(r *http.Request) { secured(r); r.Host = "x';reboot;'" })
	f("a proxy with TLS of its own", "https://vitals.example", "", func(r *http.Request) {
		r.Host = "vitals.example"
		r.Header.Set("X-Forwarded-Proto", "https")
	})
	f("a proxy that names its host", "https://vitals.example:444", "", func(r *http.Request) {
		secured(r)
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-Host", "vitals.example:444")
	})
	f("a proxy that says nonsense", "http://10.7.0.1:8186", "", func(r *http.Request) {
		r.Header.Set("X-Forwarded-Proto", "gopher")
		r.Header.Set("X-Forwarded-Host", "a'b")
	})
	for _, mode := range []auth.Mode{auth.Off, auth.Observe} {
		if w := newLab(t, mode).ask("GET", "/join", "", nil); w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", mode, w.Code, w.Header())
		}
	}
}

// plainURL has nothing in it that a shell knows, nor what ends a quoted text.
var plainURL = regexp.MustCompile(`^https?://[A-Za-z0-9.:_\[\]-]+$`)

func FuzzScriptAddress(f *testing.F) {
	f.Add("10.7.0.1:8186", "", "")
	f.Add("a'b", "vitals.example", "https")
	f.Add("[fd00::1]:1", "x\ny", "HTTP")
	l := newLab(f, auth.Off)
	f.Fuzz(func(t *testing.T, host, forwarded, proto string) {
		text := l.ask("GET", "/join", "", func(r *http.Request) {
			secured(r)
			r.Host = host
			r.Header["X-Forwarded-Host"], r.Header["X-Forwarded-Proto"] = []string{forwarded}, []string{proto}
		}).Body.String()
		_, rest, _ := strings.Cut(text, "\nrelay='")
		url, _, _ := strings.Cut(rest, "'\npin='")
		if !plainURL.MatchString(url) {
			t.Fatalf("%q", url)
		}
		if pin := strings.Contains(text, "\npin='"+aPin+"'"); text != Script(url, map[bool]string{true: aPin}[pin]) {
			t.Error("the script is another one")
		}
	})
}
