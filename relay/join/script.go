package join

import (
	_ "embed"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

//go:embed join.sh
var script string

// address is the relay's as one request has reached it.
type address struct {
	scheme, host string
	// direct says that nothing is known to stand between: the relay's key is the
	// one that the client has seen.
	direct bool
}

// hostName is a name, or an IPv4 address. It goes into a script, so there is
// nothing in it that a shell knows.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// serveScript serves the script that makes a machine a node.
func (h *Handler) serveScript(w http.ResponseWriter, r *http.Request) {
	a := h.reached(r)
	url, pin := a.scheme+"://"+a.host, ""
	if a.host == "" {
		url = h.config.Address()
	}
	if a.direct && r.TLS != nil {
		pin = h.config.Pin(Name(url))
	}
	w.Header().Set("Content-Type", "text/x-shellscript; charset=utf-8")
	io.WriteString(w, Script(url, pin))
}

// Script is the script for a relay at a URL whose key has a pin; empty: the
// certificate is looked at as usual.
func Script(url, pin string) string {
	flag := ""
	if pin != "" {
		flag = " --pin '" + pin + "'"
	}
	return strings.NewReplacer("@RELAY@", url, "@PIN_FLAG@", flag, "@PIN@", pin).Replace(script)
}

// Line is the line to paste on a new machine.
func Line(url, pin string) string {
	if pin == "" {
		return "curl -fsS " + Word(url+Path) + " | sudo sh"
	}
	return "curl -fsSk --pinnedpubkey '" + pin + "' " + Word(url+Path) + " | sudo sh"
}

// Word is a URL as a word of a shell: the brackets of an IPv6 address are a pattern
// of files to some.
func Word(url string) string {
	if strings.Contains(url, "[") {
		return "'" + url + "'"
	}
	return url
}

// reached is the address at which a client has reached the relay: what a proxy
// says, else what the client says. The host is empty if that can be none.
func (h *Handler) reached(r *http.Request) address {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	forwardedScheme, forwardedHost := strings.ToLower(r.Header.Get("X-Forwarded-Proto")), r.Header.Get("X-Forwarded-Host")
	direct := forwardedScheme+forwardedHost == ""
	if forwardedScheme == "http" || forwardedScheme == "https" {
		scheme = forwardedScheme
	}
	if CheckHost(forwardedHost) {
		host = forwardedHost
	}
	if !CheckHost(host) {
		host = ""
	}
	return address{scheme, host, direct}
}

// Name is the name or the address of a URL, without the port.
func Name(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// CheckHost reports whether a name or an address, with or without a port, can
// stand in a script and in a URL.
func CheckHost(host string) bool {
	name := host
	if bare, port, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port != strconv.FormatUint(n, 10) {
			return false
		}
		name = bare
		if strings.HasPrefix(host, "[") {
			name = "[" + bare + "]"
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	return hostName.MatchString(name)
}
