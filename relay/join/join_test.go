package join

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rpicluster/vitals/relay/auth"
)

func TestAMachineJoins(t *testing.T) {
	for _, mode := range []auth.Mode{auth.Observe, auth.Required} {
		l := newLab(t, mode)
		code := l.invite(time.Hour, 1)
		a := l.wants("typed badly", " "+strings.ToLower(strings.ReplaceAll(code, "-", ""))+"\n", "pi-7", machineA, 200, "")
		if a.Node != "pi-7" || a.Database != "node_vitals" || a.Interval != "10s" || a.Tags["site"] != "attic" || !strings.HasPrefix(a.Token, "vt_"+a.TokenID+"_") || !l.writes(a.Token) {
			t.Errorf("%s: %+v", mode, a)
		}
		list, err := l.invites.List()
		if err != nil || len(list) != 1 || len(list[0].Used) != 1 || list[0].Used[0] != (Use{"pi-7", machineA, "10.7.0.2", start}) {
			t.Errorf("%s: %+v, %v", mode, list, err)
		}
	}
}

func TestWhereNobodyIsCheckedThereIsNothingToJoin(t *testing.T) {
	l := newLab(t, auth.Off)
	l.wants("off", l.invite(time.Hour, 1), "pi-7", machineA, 404, "disabled")
}

func TestCodesThatAreNotTaken(t *testing.T) {
	l := newLab(t, auth.Required)
	code, revoked := l.invite(time.Hour, 1), l.invite(time.Hour, 1)
	list, err := l.invites.List()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.invites.Revoke(list[1].ID); err != nil {
		t.Fatal(err)
	}
	l.wants("revoked", revoked, "pi-7", machineA, 403, "wrong")
	l.wants("unknown", "K7QX-4M2P-9TRD-8WVB", "pi-7", machineA, 403, "wrong")
	l.wants("none", "", "pi-7", machineA, 403, "wrong")
	l.wants("malformed", "!", "pi-7", machineA, 403, "wrong")
	l.wants("right", code, "pi-7", machineA, 200, "")
	l.wants("used up", code, "pi-8", machineB, 410, "used")
	l.pass(time.Hour)
	l.wants("expired", code, "pi-7", machineA, 410, "expired")
	l.pass(24*time.Hour + time.Second)
	if err := l.invites.Forget(); err != nil {
		t.Fatal(err)
	}
	l.wants("forgotten", code, "pi-7", machineA, 403, "wrong")
	if text, err := os.ReadFile(filepath.Join(l.dir, "invites.json")); err != nil || strings.Contains(string(text), "sha256") {
		t.Errorf("%v: %s", err, text)
	}
}

// A lost answer costs neither a place nor a new invite.
func TestTheSameMachineMayComeAgain(t *testing.T) {
	l := newLab(t, auth.Required)
	code := l.invite(time.Hour, 2)
	first := l.wants("at first", code, "pi-7", machineA, 200, "")
	second := l.wants("again", code, "pi-7", machineA, 200, "")
	if l.writes(first.Token) || !l.writes(second.Token) {
		t.Error("the first token is still good, or the second is not")
	}
	l.wants("another machine", code, "pi-8", machineB, 200, "")
	third := l.wants("again, with no place left", code, "pi-7", machineA, 200, "")
	l.open(auth.Required)
	fourth := l.wants("again, after a restart", code, "pi-7", machineA, 200, "")
	if l.writes(third.Token) || !l.writes(fourth.Token) {
		t.Error("the third token is still good, or the fourth is not")
	}
	l.wants("under another name it is another place", code, "pi-9", machineA, 410, "used")
}

func TestANameIsNotGivenAwayAndCostsNoPlace(t *testing.T) {
	l := newLab(t, auth.Required)
	code := l.invite(time.Hour, 2)
	first := l.wants("the first", code, "pi-7", machineA, 200, "")
	l.wants("a copy of its card", code, "pi-7", machineB, 409, "name_taken")
	l.wants("under its own name", code, "pi-8", machineB, 200, "")
	if !l.writes(first.Token) {
		t.Error("the first has lost its token")
	}
	l.wants("with a wrong code nothing is told of names", "K7QX-4M2P-9TRD-8WVB", "pi-7", machineB, 403, "wrong")
}

func TestRequestsThatAreNone(t *testing.T) {
	l := newLab(t, auth.Required)
	code := l.invite(time.Hour, 1)
	for _, name := range []string{"", "*", "pi-*", "-a", "a b", "a\nb", "ä", strings.Repeat("a", 129), "../a", "a{b}"} {
		l.wants(name, code, name, machineA, 400, "invalid")
	}
	for _, machine := range []string{"", "a1", strings.Repeat("A1", 32), strings.Repeat("g", 64)} {
		l.wants(machine, code, "pi-7", machine, 400, "invalid")
	}
	f := func(method, path, body string, want int) {
		t.Helper()
		if w := l.ask(method, path, body, nil); w.Code != want {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	f("POST", "/join", "", 400)
	f("POST", "/join", "[]", 400)
	f("POST", "/join", `{"code":"`+strings.Repeat("A", maxRequest)+`"}`, 413)
	f("PUT", "/join", "{}", 405)
	f("GET", "/leave", "", 405)
	f("GET", "/", "", http.StatusTeapot)
	f("GET", "/join/x", "", http.StatusTeapot)
	f("POST", "/write", "", http.StatusTeapot)
	l.wants("after all that", code, "pi-7", machineA, 200, "")
	w := l.ask("POST", "/join", "{}", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	if w.Code != 403 {
		t.Errorf("another site's page: %d", w.Code)
	}
}

func TestWrongCodesAreSlowedDown(t *testing.T) {
	l := newLab(t, auth.Required)
	code := l.invite(time.Hour, 1)
	for range 10 {
		l.wants("wrong", "K7QX-4M2P-9TRD-8WVB", "pi-7", machineA, 403, "wrong")
	}
	w := l.ask("POST", "/join", `{"code":"`+code+`"}`, nil)
	if w.Code != 429 || w.Header().Get("Retry-After") != "6" || !strings.Contains(w.Body.String(), `"slow"`) {
		t.Errorf("%d %s %s", w.Code, w.Header(), w.Body)
	}
	l.pass(6 * time.Second)
	l.wants("later", code, "pi-7", machineA, 200, "")
	if strings.Contains(l.log.String(), "K7QX") || strings.Contains(l.log.String(), code) {
		t.Error("codes are in the log")
	}
}

// As many machines join as an invite has places, however many try at once.
func TestPlacesAreCountedExactly(t *testing.T) {
	l := newLab(t, auth.Required)
	code := l.invite(time.Hour, 5)
	var joined, used atomic.Int64
	var all sync.WaitGroup
	for i := range 40 {
		name := "pi-" + string(rune('a'+i%20)) // each twice, as the same machine
		machine := strings.Repeat(string(rune('0'+i%20/10))+string(rune('0'+i%10)), 32)
		all.Go(func() {
			switch _, status, _ := l.join(code, name, machine); status {
			case 200:
				joined.Add(1)
			case 410:
				used.Add(1)
			default:
				t.Errorf("status %d", status)
			}
		})
	}
	all.Wait()
	list, err := l.invites.List()
	if err != nil || len(list[0].Used) != 5 || joined.Load() != 10 || used.Load() != 30 {
		t.Errorf("%v: %d places, %d answers with a token, %d without", err, len(list[0].Used), joined.Load(), used.Load())
	}
	if tokens := l.guard.List(); len(tokens) != 5 {
		t.Errorf("%d tokens", len(tokens))
	}
}

func TestInvitesRaceWithTheirRevocation(t *testing.T) {
	l := newLab(t, auth.Required)
	var all sync.WaitGroup
	for range 8 {
		i, code, err := l.invites.Create(time.Hour, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := l.invites.Revoke(i.ID); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { l.join(code, "pi-"+i.ID, machineA) })
	}
	all.Wait()
	if list, err := l.invites.List(); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestAFullDiskLeavesNothingHalfMade(t *testing.T) {
	l := newLab(t, auth.Required)
	code := l.invite(time.Hour, 1)
	invites, away := l.invites.path, filepath.Join(l.dir, "away", "invites.json")
	l.invites.path = away
	l.wants("the place cannot be noted", code, "pi-7", machineA, 503, "unavailable")
	if len(l.guard.List()) > 0 {
		t.Error("a token is made")
	}
	l.invites.path = invites
	// Tokens cannot be kept where their file is a directory with something in it.
	l.file("tokens.json/x", "")
	l.wants("the token cannot be kept", code, "pi-7", machineA, 503, "unavailable")
	if err := os.RemoveAll(filepath.Join(l.dir, "tokens.json")); err != nil {
		t.Fatal(err)
	}
	l.wants("the place is its own", code, "pi-8", machineB, 410, "used")
	if a := l.wants("a second attempt", code, "pi-7", machineA, 200, ""); !l.writes(a.Token) {
		t.Error("the token is no good")
	}
	leftovers, err := filepath.Glob(filepath.Join(l.dir, ".*"))
	if err != nil || len(leftovers) > 0 {
		t.Errorf("%q, %v", leftovers, err)
	}
	if _, _, err := func() (Invite, string, error) { l.invites.path = away; return l.invites.Create(time.Hour, 1, nil) }(); err == nil {
		t.Error("an invite that is kept nowhere")
	}
	if list, err := l.invites.List(); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestInvitesThatCannotBeReadAreNotWiped(t *testing.T) {
	l := newLab(t, auth.Required)
	code := l.invite(time.Hour, 1)
	path := filepath.Join(l.dir, "invites.json")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"{", `{"invites":[{"id":"a","sha256":"00"}]}`} {
		l.file("invites.json", bad)
		l.open(auth.Required)
		l.wants("damaged", code, "pi-7", machineA, 503, "unavailable")
		if _, _, err := l.invites.Create(time.Hour, 1, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != bad {
			t.Errorf("%v: %s", err, text)
		}
	}
	l.file("invites.json", string(good))
	l.wants("mended", code, "pi-7", machineA, 200, "") // without a restart
}

func TestInvitesAreKeptHashedAndPrivate(t *testing.T) {
	l := newLab(t, auth.Required)
	code := l.invite(time.Hour, 1)
	l.wants("joins", code, "pi-7", machineA, 200, "")
	path := filepath.Join(l.dir, "invites.json")
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), code) || strings.Contains(string(text), strings.ReplaceAll(code, "-", "")) {
		t.Errorf("%v: %s", err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if strings.Contains(l.log.String(), code) {
		t.Error("the code is in the log")
	}
}

func TestWhatAnInviteMayBe(t *testing.T) {
	l := newLab(t, auth.Required)
	f := func(lifetime time.Duration, uses int, tags map[string]string) {
		t.Helper()
		if _, _, err := l.invites.Create(lifetime, uses, tags); err == nil {
			t.Errorf("%s, %d, %q", lifetime, uses, tags)
		}
	}
	f(0, 1, nil)
	f(time.Second, 1, nil)
	f(31*24*time.Hour, 1, nil)
	f(time.Hour, 0, nil)
	f(time.Hour, maxUses+1, nil)
	for _, key := range []string{"", "host", "node", "time", "a b", "a=b", "1a", "a.b", strings.Repeat("a", 65)} {
		f(time.Hour, 1, map[string]string{key: "v"})
	}
	for _, value := range []string{"$5", "${HOME}", "@{a:b}", "", "a\nb", `a\`, "a\x00", "a\xff", strings.Repeat("a", maxTagValue+1)} {
		f(time.Hour, 1, map[string]string{"k": value})
	}
	l.invite(time.Hour, 1)
	for range maxInvites {
		l.invites.known = append(l.invites.known, stored{Invite: Invite{Expires: start.Add(time.Hour)}})
	}
	f(time.Hour, 1, nil)
}

func TestANodeLeaves(t *testing.T) {
	l := newLab(t, auth.Required)
	a := l.wants("joins", l.invite(time.Hour, 1), "pi-7", machineA, 200, "")
	leave := func(token string, want int) {
		t.Helper()
		w := l.ask("POST", "/leave", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
		if w.Code != want {
			t.Errorf("%d %s, want %d", w.Code, w.Body, want)
		}
	}
	_, reader, err := l.guard.Create("", auth.Read, 0)
	if err != nil {
		t.Fatal(err)
	}
	leave(reader, 403)
	leave("vt_x_y", 401)
	leave(a.Token, 204)
	leave(a.Token, 401)
	if l.writes(a.Token) || len(l.retired) != 1 || l.retired[0] != "pi-7" {
		t.Errorf("%q", l.retired)
	}
	l.wants("the name is free", l.invite(time.Hour, 1), "pi-7", machineB, 200, "")
}

// Whatever comes, nobody joins without a code, and no answer is a panic's.
func FuzzJoin(f *testing.F) {
	f.Add(`{"code":"K7QX-4M2P-9TRD-8WVB","node":"pi-7","machine":"`+machineA+`","version":"v1"}`, "Bearer vt_a_b")
	f.Add(`{"code":null}`, "Basic !")
	f.Add("[]", "")
	l := newLab(f, auth.Required)
	l.invite(time.Hour, 1000)
	f.Fuzz(func(t *testing.T, body, authorization string) {
		l.pass(time.Minute) // so that wrong ones are not slowed down
		for _, path := range []string{"/join", "/leave"} {
			w := l.ask("POST", path, body, func(r *http.Request) { r.Header["Authorization"] = []string{authorization} })
			if w.Code < 400 || w.Code >= 500 && w.Code != 503 || strings.Contains(w.Body.String(), "vt_") && path == "/join" && !strings.Contains(body, "vt_") {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		if len(l.guard.List()) > 0 {
			t.Error("a token is made")
		}
	})
}
