package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/pin"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/join"
)

// address is where other machines reach the relay, as far as it knows.
func (r *relay) address() string { return r.addresses()[0] }

// addresses are the URLs of the relay, the likeliest first.
func (r *relay) addresses() (urls []string) {
	host, port, err := net.SplitHostPort(r.listening.String())
	if err != nil {
		return []string{r.scheme() + "://" + r.listening.String()}
	}
	if named, _, err := net.SplitHostPort(r.config.Listen); err == nil && named != "" && net.ParseIP(named) == nil {
		host = named // as it was written
	}
	hosts := []string{host}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		hosts = append(machineAddresses(), "localhost")
	}
	for _, h := range hosts {
		urls = append(urls, r.scheme()+"://"+net.JoinHostPort(h, port))
	}
	return urls
}

// reachable reports whether other machines reach the relay where it listens.
func (r *relay) reachable() bool {
	tcp, ok := r.listening.(*net.TCPAddr)
	return !ok || !tcp.IP.IsLoopback()
}

// virtual are interfaces that lead to containers and the like.
var virtual = []string{"docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "podman", "lxc", "lxd"}

// machineAddresses are the addresses of this machine's networks: the one from
// which it reaches others first, those of containers last, IPv4 before IPv6.
func machineAddresses() []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var found []netip.Addr
	worth := map[netip.Addr]int{}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		inner := slices.ContainsFunc(virtual, func(prefix string) bool { return strings.HasPrefix(i.Name, prefix) })
		for _, a := range addresses {
			prefix, err := netip.ParsePrefix(a.String())
			if ip := prefix.Addr().Unmap(); err == nil && ip.IsGlobalUnicast() {
				found = append(found, ip)
				worth[ip] = map[bool]int{true: 2, false: 0}[inner] + map[bool]int{true: 0, false: 1}[ip.Is4()]
			}
		}
	}
	if out, ok := outgoing(); ok {
		worth[out] = -1
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return worth[a] - worth[b] })
	var texts []string
	for _, ip := range found {
		texts = append(texts, ip.String())
	}
	return texts
}

// outgoing is the address from which this machine reaches other networks. Nothing
// is sent to find it out.
func outgoing() (netip.Addr, bool) {
	conn, err := net.Dial("udp4", "198.51.100.1:9")
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return local.Addr().Unmap(), err == nil
}

// pin is the pin of the relay's key; empty: it speaks plain HTTP.
func (r *relay) pin() string {
	if r.certificates == nil {
		return ""
	}
	return r.certificates.Pin()
}

// pinFor is the pin that nodes should pin who know the relay by a name. A
// certificate that others trust anyway may be renewed with another key.
func (r *relay) pinFor(name string) string {
	if r.certificates == nil || !r.config.TLS.OwnKey && r.certificates.Trusted(name) {
		return ""
	}
	return r.certificates.Pin()
}

// pinAt is the pin for a URL that somebody names, under which a proxy with a key
// of its own may answer. Where nothing answers to this machine, it is the relay's.
func (r *relay) pinAt(ctx context.Context, u *url.URL) (string, error) {
	own := r.pinFor(u.Hostname())
	if u.Scheme != "https" || own == "" {
		return "", nil
	}
	// Who is there may be slow to show a key; who asks waits for ten seconds.
	const reach, answer = 3 * time.Second, 8 * time.Second
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	dialer := net.Dialer{Timeout: reach}
	raw, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")))
	if err != nil {
		return own, nil
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true}) //nolint:gosec // it is looked at below
	if conn.HandshakeContext(ctx) != nil {
		return own, nil
	}
	shown := conn.ConnectionState().PeerCertificates
	if pin.Of(shown[0]) == r.pin() {
		return own, nil
	}
	chain := x509.NewCertPool()
	for _, certificate := range shown[1:] {
		chain.AddCert(certificate)
	}
	if _, err := shown[0].Verify(x509.VerifyOptions{DNSName: u.Hostname(), Intermediates: chain}); err != nil {
		return "", fmt.Errorf("at %s another key answers than the relay's, %s, with a certificate that this machine does not trust: %w; name an address of the relay itself, or of a proxy with a certificate that nodes trust", u, pin.Of(shown[0]), err)
	}
	return "", nil
}

// newJoins makes the doors for machines that join and leave.
func (r *relay) newJoins() *join.Handler {
	p := &r.config.Provision
	return join.New(join.Config{
		Tokens: r.guard, Invites: r.invites, Enabled: r.guard.Mode() != auth.Off, Packages: r.config.Packages,
		Address: r.address, Pin: r.pinFor, Database: p.Prefix + p.Database, Interval: nodeInterval,
		Retire: r.retire, Silence: r.config.Limits.BodySilence.Std(), Logger: r.log,
	})
}
