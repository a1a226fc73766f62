package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// lab is a guard with a clock of its own.
type lab struct {
	*Guard
	t   *testing.T
	dir string
	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

func newLab(t *testing.T, change func(*Config)) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), now: start}
	l.open(change)
	return l
}

func (l *lab) open(change func(*Config)) {
	c := Config{
		Mode: Required, NodeCheck: Enforce, Directory: l.dir, Logger: slog.New(slog.NewTextHandler(&l.log, nil)),
		Now: func() time.Time { l.mu.Lock(); defer l.mu.Unlock(); return l.now },
	}
	if change != nil {
		change(&c)
	}
	l.Guard = New(c)
}

func (l *lab) pass(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

func (l *lab) create(node string, role Role, lifetime time.Duration) (Token, string) {
	l.t.Helper()
	t, text, err := l.Create(node, role, lifetime)
	if err != nil {
		l.t.Fatal(err)
	}
	return t, text
}

func ask(token string) *http.Request {
	r := httptest.NewRequest("POST", "/api/v2/write?bucket=b", nil)
	r.RemoteAddr = "10.0.0.9:4711"
	if token != "" {
		r.Header.Set("Authorization", "Token "+token)
	}
	return r
}

func (l *lab) wants(what, token string, role Role, want error) *Grant {
	l.t.Helper()
	return l.wantsOf(what, ask(token), role, want)
}

func (l *lab) wantsOf(what string, r *http.Request, role Role, want error) *Grant {
	l.t.Helper()
	grant, err := l.Admit(r, role)
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		l.t.Errorf("%s: %v, want %v", what, err, want)
	}
	return grant
}

func TestTokens(t *testing.T) {
	l := newLab(t, nil)
	info, token := l.create("pi-1", Write, 0)
	_, read := l.create("", Read, 0)
	_, admin := l.create("", Admin, 0)
	l.wants("its writer", token, Write, nil)
	l.wants("nobody", "", Write, ErrMissing)
	l.wants("a writer who reads", token, Read, ErrForbidden)
	l.wants("a reader who writes", read, Write, ErrForbidden)
	l.wants("a reader", read, Read, nil)
	l.wants("a reader, whatever it is", read, Any, nil)
	l.wants("an admin", admin, Write, nil)
	l.wants("an admin", admin, Read, nil)
	id, secret, _ := cut(token)
	if id != info.ID || len(secret) < 52 {
		t.Errorf("%q has the ID %q and %d characters of secret", token, id, len(secret))
	}
	last := "a"
	if secret[len(secret)-2] == 'a' {
		last = "b"
	}
	for what, wrong := range map[string]string{
		"no token": "x", "empty secret": "vt_" + id + "_", "no secret": "vt_" + id, "unknown ID": "vt_aaaaaaaa_" + secret,
		"other secret": "vt_" + id + "_" + secret[:len(secret)-2] + last + secret[len(secret)-1:], "longer": token + "a", "shorter": token[:len(token)-1],
		"huge": token + strings.Repeat("a", 1<<16), "no ID": "vt__" + secret,
	} {
		l.pass(time.Minute)
		l.wants(what, wrong, Write, ErrWrong)
	}
}

func TestSecretsAreNotKept(t *testing.T) {
	l := newLab(t, nil)
	_, token := l.create("pi-1", Write, 0)
	_, secret, _ := cut(token)
	path := filepath.Join(l.dir, "tokens.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(secret))
	if strings.Contains(string(text), secret) || !strings.Contains(string(text), hex.EncodeToString(sum[:])) {
		t.Errorf("%s", text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if strings.Contains(l.log.String(), secret) || !strings.Contains(l.log.String(), "a token is made") {
		t.Error(l.log.String())
	}
}

func TestCredentialForms(t *testing.T) {
	l := newLab(t, nil)
	_, token := l.create("pi-1", Write, 0)
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	header := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	f := func(what, target string, show func(*http.Request), want error) {
		t.Helper()
		l.pass(time.Minute)
		r := httptest.NewRequest("POST", target, nil)
		show(r)
		l.wantsOf(what, r, Write, want)
	}
	none := func(*http.Request) {}
	f("u and p", "/write?db=d&u=anyone&p="+token, none, nil)
	f("p alone, as InfluxDB 3 has it", "/write?db=d&p="+token, none, nil)
	f("query", "/query?u=x&p="+token, none, nil)
	f("p elsewhere", "/api/v2/write?bucket=b&p="+token, none, ErrMissing)
	f("rp is not p", "/write?db=d&rp=x", none, ErrMissing)
	f("u alone", "/write?u=x", none, ErrMissing)
	f("wrong p, no user", "/write?p=x", none, ErrNoUser)
	f("u and p before the header", "/write?u=x&p=wrong", header("Token "+token), ErrWrong)
	f("Basic", "/write", basic("anyone", token), nil)
	f("Basic without user", "/write", basic("", token), nil)
	f("Basic, wrong, without user", "/write", basic("", "x"), ErrNoUser)
	f("Basic, wrong", "/write", basic("u", "x"), ErrWrong)
	f("Token user:token", "/api/v2/write", header("Token anyone:"+token), nil)
	f("Token token", "/api/v2/write", header("Token "+token), nil)
	f("token token", "/api/v2/write", header("token  "+token+" "), nil)
	f("Bearer token", "/api/v3/write_lp", header("Bearer "+token), nil)
	f("Bearer wrong", "/api/v3/write_lp", header("Bearer x"), ErrWrong)
	for _, malformed := range []string{"Bearer", "Bearer ", token, "Digest x", "Basic !", "Token"} {
		f(malformed, "/write", header(malformed), ErrMalformed)
	}
}

func TestExpiry(t *testing.T) {
	l := newLab(t, nil)
	_, token := l.create("pi-1", Write, time.Hour)
	l.pass(time.Hour)
	l.wants("on the last second", token, Write, nil)
	l.pass(time.Second)
	l.wants("after it", token, Write, ErrWrong)
}

func TestRotationAndRevoking(t *testing.T) {
	l := newLab(t, nil)
	old, oldToken := l.create("pi-1", Write, 0)
	_, newToken := l.create("pi-1", Write, 0)
	l.wants("the old one", oldToken, Write, nil)
	l.wants("the new one", newToken, Write, nil)
	if err := l.Revoke(old.ID); err != nil {
		t.Fatal(err)
	}
	l.wants("the old one, replayed", oldToken, Write, ErrWrong)
	l.wants("the new one", newToken, Write, nil)
	if err := l.Revoke(old.ID); err == nil || !strings.Contains(err.Error(), "there is no token") {
		t.Error(err)
	}
	l.open(nil)
	l.wants("the old one, after a restart", oldToken, Write, ErrWrong)
	l.wants("the new one, after a restart", newToken, Write, nil)
}

func TestLastUse(t *testing.T) {
	l := newLab(t, nil)
	_, token := l.create("pi-1", Write, 0)
	if list := l.List(); len(list) != 1 || !list[0].LastUsed.IsZero() {
		t.Errorf("%+v", list)
	}
	l.pass(time.Minute)
	l.wants("its writer", token, Write, nil)
	check := func() {
		t.Helper()
		if list := l.List(); !list[0].LastUsed.Equal(start.Add(time.Minute)) || list[0].From != "10.0.0.9" {
			t.Errorf("%+v", list)
		}
	}
	check()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Run(ctx) // saves at its end
	l.open(nil)
	check()
}

func TestTokensThatCannotBeRead(t *testing.T) {
	l := newLab(t, nil)
	l.wants("before any was made", "vt_a_b", Write, ErrUnavailable)
	l.wants("nobody", "", Write, ErrMissing)
	if alarms := l.Alarms(); len(alarms) != 1 || !strings.Contains(alarms[0], "token create") {
		t.Error(alarms)
	}
	_, token := l.create("pi-1", Write, 0)
	l.wants("the first", token, Write, nil)
	if alarms := l.Alarms(); len(alarms) != 0 {
		t.Error(alarms)
	}
	path := filepath.Join(l.dir, "tokens.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"damaged": string(good[:len(good)/2]), "without a hash": `{"tokens":[{"id":"a","role":"write","node":"n"}]}`,
		"with a wrong role": strings.ReplaceAll(string(good), `"write"`, `"wrote"`),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.Reload(); err == nil {
			t.Errorf("%s: reloaded", what)
		}
		l.wants(what+": one that was known", token, Write, nil)
		l.open(nil)
		l.wants(what, token, Write, ErrUnavailable)
		if _, _, err := l.Create("x", Write, 0); err == nil {
			t.Errorf("%s: the file was replaced", what)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.Reload(); err != nil {
			t.Error(err)
		}
		l.wants("mended", token, Write, nil)
	}
}

func TestChangesThatCannotBeKept(t *testing.T) {
	l := newLab(t, nil)
	info, token := l.create("pi-1", Write, 0)
	if err := os.RemoveAll(l.dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Create("pi-2", Write, 0); err == nil {
		t.Error("a token was made that is not on the disk")
	}
	if len(l.List()) != 1 {
		t.Error(l.List())
	}
	if err := l.Revoke(info.ID); err == nil || !strings.Contains(err.Error(), "comes back") {
		t.Error(err)
	}
	l.wants("revoked all the same", token, Write, ErrWrong)
}

func TestWhatCannotBeAToken(t *testing.T) {
	l := newLab(t, nil)
	for what, c := range map[string]struct {
		node     string
		role     Role
		lifetime time.Duration
	}{
		"--node is missing": {"", Write, 0}, "is none of": {"a", "root", 0}, "must be in the future": {"a", Write, -1},
		"cannot be the name": {"a\nb", Write, 0}, "the pattern": {"a[", Write, 0}, `a\" cannot`: {`a\`, Write, 0},
	} {
		if _, _, err := l.Create(c.node, c.role, c.lifetime); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(what, `a\" `)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(l.List()) != 0 {
		t.Error(l.List())
	}
}

// nodesOf are the names among some whose lines a grant lets through.
func nodesOf(g *Grant, names ...string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString("m,host=" + strings.ReplaceAll(name, " ", `\ `) + " v=1 1\n")
	}
	var s line.Scanner
	rep := s.ScanNodes([]byte(b.String()), line.Nanosecond, g.Nodes())
	return string(line.AppendSound(nil, []byte(b.String()), rep, line.Nanosecond, 0))
}

func TestWhoseLines(t *testing.T) {
	f := func(check NodeCheck, node, want, owner string) {
		t.Helper()
		l := newLab(t, func(c *Config) { c.NodeCheck = check })
		_, token := l.create(node, Write, 0)
		grant := l.wants(node, token, Write, nil)
		got := nodesOf(grant, "site-a-1", "site-b-1", "a b")
		got = strings.NewReplacer("m,host=", "", " v=1 1\n", "|").Replace(got)
		if got != want || grant.Owner() != owner {
			t.Errorf("%s %s: %s owner %q", check, node, got, grant.Owner())
		}
	}
	f(Enforce, "site-a-1", "site-a-1|", "")
	f(Enforce, "site-a-*", "site-a-1|", "")
	f(Enforce, "site-?-1", "site-a-1|site-b-1|", "")
	f(Enforce, "{site-a-1,a b}", `site-a-1|a\ b|`, "")
	f(Enforce, "a b", `a\ b|`, "")
	f(Enforce, "*", `site-a-1|site-b-1|a\ b|`, "")
	f(Ignore, "site-a-1", `site-a-1|site-b-1|a\ b|`, "")
	f(Overwrite, "site-a-1", `site-a-1|site-b-1|a\ b|`, "site-a-1")
	f(Overwrite, "site-a-*", "site-a-1|", "") // which would they become?
}

func TestGuessingIsSlowedDown(t *testing.T) {
	l := newLab(t, nil)
	_, good := l.create("pi-1", Write, 0)
	_, known := l.create("pi-2", Write, 0)
	l.wants("from that address before", known, Write, nil)
	for range maxFailures {
		l.wants("a guess", "vt_aaaaaaaa_guess", Write, ErrWrong)
	}
	var slow *SlowDown
	from := func(remote, token string) error {
		r := ask(token)
		r.RemoteAddr = remote
		_, err := l.Admit(r, Write)
		return err
	}
	if err := from("10.0.0.9:1", "vt_aaaaaaaa_guess"); !errors.As(err, &slow) || slow.After <= 0 || slow.After > time.Minute {
		t.Errorf("one guess more: %v", err)
	}
	if err := from("10.0.0.9:1", good); !errors.As(err, &slow) {
		t.Errorf("a right token that never came from there: %v", err)
	}
	if err := from("10.0.0.9:1", known); err != nil {
		t.Errorf("a token that came from there before: %v", err)
	}
	if err := from("10.0.0.10:1", good); err != nil {
		t.Errorf("another address: %v", err)
	}
	l.pass(failureEvery)
	if err := from("10.0.0.9:1", "vt_aaaaaaaa_guess"); err != ErrWrong {
		t.Errorf("later: %v", err)
	}
	for i := range maxFailures {
		if err := from(fmt.Sprintf("[2001:db8:0:1::%x]:9", i+1), "x"); err != ErrWrong {
			t.Error(err)
		}
	}
	if err := from("[2001:db8:0:1:ffff::1]:9", "x"); !errors.As(err, &slow) {
		t.Errorf("the same /64: %v", err)
	}
	if err := from("[2001:db8:0:2::1]:9", "x"); err != ErrWrong {
		t.Errorf("another /64: %v", err)
	}
}

func TestGuessersTakeBoundedMemory(t *testing.T) {
	var s slow
	for i := range maxNetworks + 100 {
		s.fail(fmt.Sprint(i), start.Add(time.Duration(i)*time.Millisecond))
	}
	if len(s.free) > maxNetworks {
		t.Error(len(s.free))
	}
}

func TestObserving(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Mode = Observe })
	_, own := l.create("pi-1", Write, 0)
	_, read := l.create("", Read, 0)
	write := func(token, client, body string) {
		t.Helper()
		r := ask(token)
		r.Header.Set("User-Agent", client)
		grant := l.wantsOf(client, r, Write, nil)
		var s line.Scanner
		rep := s.ScanNodes([]byte(body), line.Nanosecond, grant.Nodes())
		if len(rep.Bad) > 0 || grant.Owner() != "" {
			t.Errorf("%s: %+v", client, rep)
		}
		grant.Accepted(r, rep, line.Nanosecond, []byte(body))
	}
	write(own, "right", "m,host=pi-1 v=1 1\n")
	write("", "Telegraf/1.30", "m,host=pi-2 v=1 1\n")
	write("", "Telegraf/1.30", "m,host=pi-2 v=1 1\n")
	write("vt_a_b", "wrong\x1b[2J", "m v=1 1\n")
	write(own, "spoof", "m,host=pi-1 v=1 1\nm,host=pi-9 v=1 1\n")
	write(read, "reader", "m,host=pi-3 v=1 1\n")
	if _, err := l.Admit(ask(""), Any); err != nil {
		t.Error(err)
	}
	got := map[string]int64{}
	for _, o := range l.Observed() {
		got[o.Address+" "+o.Node+" "+o.Client+": "+o.Reason] = o.Count
	}
	want := map[string]int64{
		"10.0.0.9 pi-2 Telegraf/1.30: shows no credentials":                  2,
		"10.0.0.9  : shows no credentials":                                   1,
		"10.0.0.9  wrong\ufffd[2J: its token is unknown, revoked or expired": 1,
		`10.0.0.9 pi-9 spoof: its token is only for the node "pi-1"`:         1,
		"10.0.0.9 pi-3 reader: the token's role does not allow this":         1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
	if alarms := l.Alarms(); len(alarms) != 1 || !strings.Contains(alarms[0], "5 would be refused") {
		t.Error(alarms)
	}
}

func TestObservedTakesBoundedMemory(t *testing.T) {
	var o observations
	r := ask("")
	r.Header.Set("User-Agent", strings.Repeat("x", 1<<16))
	for i := range maxObserved + 100 {
		o.add(start.Add(time.Duration(i)*time.Second), r, fmt.Sprint(i, strings.Repeat("y", 1<<12)), "reason")
	}
	list := o.list()
	if len(list) != maxObserved || len(list[0].Client) > maxObservedText || len(list[0].Node) > maxObservedText || !strings.HasPrefix(list[0].Node, "1099") {
		t.Error(len(list), list[0])
	}
}

func TestOffChecksNobody(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Mode = Off })
	if grant := l.wants("anybody", "nonsense", Write, nil); grant != nil || grant.Nodes() != nil || !grant.May(Admin) {
		t.Error(grant)
	}
	if len(l.Alarms()) != 0 {
		t.Error(l.Alarms())
	}
}

func TestLimits(t *testing.T) {
	f := func(limits Limits, body string, bodies int, wait time.Duration) {
		t.Helper()
		l := newLab(t, func(c *Config) { c.Limits = limits })
		_, token := l.create("a", Write, 0)
		_, other := l.create("a", Write, 0)
		var s line.Scanner
		for i := range bodies {
			grant := l.wants("within the limits", token, Write, nil)
			text := []byte(strings.ReplaceAll(body, "N", fmt.Sprint(i)))
			grant.Accepted(ask(token), s.ScanNodes(text, line.Nanosecond, grant.Nodes()), line.Nanosecond, text)
		}
		var slow *SlowDown
		if _, err := l.Admit(ask(token), Write); !errors.As(err, &slow) {
			t.Fatalf("%+v: %v", limits, err)
		}
		l.wants("another token", other, Write, nil)
		if slow.After.Round(time.Millisecond) != wait {
			t.Errorf("%+v: %v to wait, want %v", limits, slow.After, wait)
		}
		l.pass(slow.After - time.Millisecond)
		if _, err := l.Admit(ask(token), Write); !errors.As(err, &slow) {
			t.Errorf("%+v, too soon: %v", limits, err)
		}
		l.pass(2 * time.Millisecond)
		l.wants("after waiting", token, Write, nil)
		if s := l.Status(); s.Limited != 2 {
			t.Errorf("%+v", s)
		}
	}
	ten := strings.Repeat("m,host=a v=1 1\n", 10)
	f(Limits{Lines: 20}, ten, 2, 3*time.Second)
	f(Limits{Lines: 1}, ten, 1, 10*time.Minute)
	f(Limits{Bytes: 300}, ten, 2, 200*time.Millisecond)
	f(Limits{Series: 10}, "m,host=a,x=N v=1 1\nm,host=a,x=N v=2 2\n", 10, 6*time.Second)
	f(Limits{Lines: 1000, Series: 1}, ten, 1, time.Minute)
}

func TestKnownSeriesAreNotNew(t *testing.T) {
	s := newSeries(start)
	var scan line.Scanner
	add := func(now time.Time, id, text string) int {
		return s.add(now, id, scan.Scan([]byte(text), line.Nanosecond), line.Nanosecond, []byte(text))
	}
	const two = "m,host=a v=1 1\nm,host=b v=1 1\nm,host=a v=2 2\nbad\n"
	for _, c := range []struct {
		after time.Duration
		id    string
		want  int
	}{{0, "1", 2}, {0, "1", 0}, {0, "2", 2}, {seriesAge + 1, "1", 0}, {2*seriesAge + 2, "1", 0}, {5 * seriesAge, "1", 0}, {5*seriesAge + 1, "2", 2}} {
		if got := add(start.Add(c.after), c.id, two); got != c.want {
			t.Errorf("%s after %v: %d new, want %d", c.id, c.after, got, c.want)
		}
	}
	wrong := 0
	for i := range 20_000 {
		wrong += 1 - add(start.Add(5*seriesAge+2), "1", fmt.Sprintf("n,host=%d v=1 1", i))
	}
	if wrong > 400 {
		t.Errorf("%d of 20000 new series were taken for known ones", wrong)
	}
}

func TestPagesNeedARole(t *testing.T) {
	l := newLab(t, nil)
	_, read := l.create("", Read, 0)
	_, write := l.create("pi-1", Write, 0)
	h := l.RequireRole(Read, "/signin", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }))
	get := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/", nil)
		if token != "" {
			r.SetBasicAuth("me", token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := get(""); w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
		t.Error(w)
	}
	if w := get(read); w.Code != 200 || w.Body.String() != "page" {
		t.Error(w)
	}
	if w := get(write); w.Code != 403 {
		t.Error(w)
	}
	for range maxFailures {
		get("x")
	}
	if w := get("x"); w.Code != 429 {
		t.Error(w)
	}
	l = newLab(t, func(c *Config) { c.Mode = Observe })
	h = l.RequireRole(Read, "/signin", http.NotFoundHandler())
	if w := get(""); w.Code != 404 {
		t.Error(w)
	}
}

func TestAdmittingAllocatesNothing(t *testing.T) {
	l := newLab(t, nil)
	_, token := l.create("pi-1", Write, 0)
	r := ask(token)
	if n := testing.AllocsPerRun(100, func() { l.Admit(r, Write) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	dir := b.TempDir()
	g := New(Config{Mode: Required, NodeCheck: Enforce, Directory: dir, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	_, token, err := g.Create("pi-1", Write, 0)
	if err != nil {
		b.Fatal(err)
	}
	r := ask(token)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Admit(r, Write); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTokensThatEndSoon(t *testing.T) {
	l := newLab(t, nil)
	day := 24 * time.Hour
	for _, c := range []struct {
		node     string
		lifetime time.Duration
	}{{"soon", 5 * day}, {"later", 30 * day}, {"never", 0}, {"rotated", 5 * day}, {"rotated", 90 * day}} {
		_, token := l.create(c.node, Write, c.lifetime)
		l.wants(c.node, token, Write, nil)
	}
	l.create("unused", Write, 5*day)
	if alarms := l.Alarms(); len(alarms) != 1 || !strings.Contains(alarms[0], `"soon") ends on 2026-03-06`) {
		t.Error(alarms)
	}
	l.pass(6 * day)
	if alarms := l.Alarms(); len(alarms) != 1 || !strings.Contains(alarms[0], `"soon") has ended on 2026-03-06`) {
		t.Error(alarms)
	}
}

// FuzzShown tries every header and query: nothing panics, and only the token
// itself is right.
func FuzzShown(f *testing.F) {
	dir := f.TempDir()
	g := New(Config{Mode: Required, NodeCheck: Enforce, Directory: dir, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	_, token, err := g.Create("pi-1", Write, 0)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "Token TOKEN", "Bearer TOKEN", "Token u:TOKEN", "Basic dTpUT0tFTg==", "token  :TOKEN", "Basic", "vt__", "Bearer vt_a_b_c"} {
		f.Add(seed, "db=d&u=a&p=TOKEN", "192.0.2.1:80")
		f.Add(seed, "rp=;p=%zz", "[fe80::1%eth0]:80")
	}
	f.Fuzz(func(t *testing.T, header, query, remote string) {
		r := httptest.NewRequest("POST", "/write", nil)
		r.Header.Set("Authorization", strings.ReplaceAll(header, "TOKEN", token))
		r.URL.RawQuery, r.RemoteAddr = strings.ReplaceAll(query, "TOKEN", token), remote
		_, err := g.Admit(r, Write)
		if err == nil && !strings.Contains(header+query, "TOKEN") && !strings.HasPrefix(strings.ToLower(header), "basic") {
			t.Errorf("%q %q was let in", header, query)
		}
	})
}
