package auth

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func (l *lab) join(node, machine, from string) (Token, string) {
	l.t.Helper()
	t, text, err := l.Join(node, machine, from)
	if err != nil {
		l.t.Fatal(err)
	}
	return t, text
}

func TestAMachineGetsANameAndKeepsIt(t *testing.T) {
	l := newLab(t, nil)
	made, first := l.join("pi-7", "aa", "10.0.0.7")
	l.wants("its token", first, Write, nil)
	var taken *NameTaken
	_, _, err := l.Join("pi-7", "bb", "10.0.0.8")
	if !errors.As(err, &taken) || !strings.Contains(err.Error(), made.ID) || !strings.Contains(err.Error(), "10.0.0.7") || !strings.Contains(err.Error(), "--name") {
		t.Errorf("another machine: %v", err)
	}
	l.wants("after the attempt of another", first, Write, nil)
	_, second := l.join("pi-7", "aa", "10.0.0.9")
	l.wants("the new one", second, Write, nil)
	l.wants("the one before", first, Write, ErrWrong)
	l.join("pi-8", "aa", "10.0.0.9")
	l.wants("under another name it is another token", second, Write, nil)
	if list := l.List(); len(list) != 2 || list[0].Machine != "aa" || list[0].JoinedFrom != "10.0.0.9" {
		t.Errorf("%+v", list)
	}
	l.open(nil)
	l.wants("after a restart", second, Write, nil)
	if _, _, err := l.Join("pi-7", "bb", "10.0.0.8"); !errors.As(err, &taken) {
		t.Errorf("after a restart its name is given away: %v", err)
	}
	if err := l.Revoke(taken.Token.ID); err != nil {
		t.Fatal(err)
	}
	l.join("pi-7", "bb", "10.0.0.8")
}

// Whoever has an invite gets no token for a node that somebody has made one for.
func TestANameWithATokenMadeByHandIsTaken(t *testing.T) {
	l := newLab(t, nil)
	made, byHand := l.create("pi-7", Write, 0)
	l.create("pi-8", Read, 0)
	l.create("pi-*", Write, 0)
	var taken *NameTaken
	if _, _, err := l.Join("pi-7", "aa", "10.0.0.7"); !errors.As(err, &taken) || !strings.Contains(err.Error(), "token revoke "+made.ID) {
		t.Errorf("joining: %v", err)
	}
	l.wants("that made by hand", byHand, Write, nil)
	l.join("pi-8", "aa", "10.0.0.7") // a reader is no node, and a pattern no name
	if err := l.Revoke(made.ID); err != nil {
		t.Fatal(err)
	}
	l.join("pi-7", "bb", "10.0.0.7")
}

func TestNobodyJoinsAsSeveralNodes(t *testing.T) {
	l := newLab(t, nil)
	for _, name := range []string{"", "*", "pi-?", "pi-[1-9]", "{a,b}", `a\`, "a\nb"} {
		if _, _, err := l.Join(name, "aa", "10.0.0.7"); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
}

func TestJoiningWithoutRoomOnTheDiskChangesNothing(t *testing.T) {
	l := newLab(t, nil)
	_, first := l.join("pi-7", "aa", "10.0.0.7")
	l.config.Directory += "/away"
	if _, _, err := l.Join("pi-7", "aa", "10.0.0.7"); err == nil {
		t.Fatal("it is kept nowhere")
	}
	l.wants("the one there was", first, Write, nil)
	if err := os.Mkdir(l.config.Directory, 0o700); err != nil {
		t.Fatal(err)
	}
	_, second := l.join("pi-7", "aa", "10.0.0.7")
	l.wants("the second attempt", second, Write, nil)
}

func TestLeaving(t *testing.T) {
	l := newLab(t, nil)
	_, token := l.join("pi-7", "aa", "10.0.0.7")
	_, pattern := l.create("site-*", Write, 0)
	_, reader := l.create("", Read, 0)
	var retired []string
	var failure error
	leave := func(token string) error {
		return l.Leave(ask(token), func(node string) error { retired = append(retired, node); return failure })
	}
	for what, token := range map[string]string{"a pattern": pattern, "a reader": reader} {
		if err := leave(token); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := leave(""); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	failure = errors.New("the disk is full")
	if err := leave(token); !errors.Is(err, failure) {
		t.Error(err)
	}
	failure = nil
	kept := l.config.Directory
	l.config.Directory += "/away"
	if err := leave(token); err == nil {
		t.Error("it is noted nowhere")
	}
	l.wants("after two attempts that failed", token, Write, nil)
	l.config.Directory = kept
	retired = nil
	if err := leave(token); err != nil || len(retired) != 1 || retired[0] != "pi-7" {
		t.Errorf("%v, %q", err, retired)
	}
	if err := leave(token); !errors.Is(err, ErrWrong) {
		t.Errorf("again: %v", err)
	}
	l.open(nil)
	l.wants("after a restart", token, Write, ErrWrong)
	l.join("pi-7", "bb", "10.0.0.8") // the name is free
}

// Where nobody is checked a token can be given back all the same.
func TestLeavingWhereNobodyIsChecked(t *testing.T) {
	for _, mode := range []Mode{Off, Observe, Required} {
		l := newLab(t, func(c *Config) { c.Mode = mode })
		_, token := l.join("pi-7", "aa", "10.0.0.7")
		retire := func(string) error { return nil }
		if err := l.Leave(ask(token), retire); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if err := l.Leave(ask(token), retire); !errors.Is(err, ErrWrong) {
			t.Errorf("%s, again: %v", mode, err)
		}
	}
}

func TestWhereCodesAreHeardAgain(t *testing.T) {
	l := newLab(t, nil)
	r := ask("")
	for range maxFailures {
		if err := l.HearCode(r); err != nil {
			t.Fatal(err)
		}
		l.WrongCode(r)
	}
	var slow *SlowDown
	if err := l.HearCode(r); !errors.As(err, &slow) || slow.After <= 0 {
		t.Errorf("%v", err)
	}
	l.pass(failureEvery)
	if err := l.HearCode(r); err != nil {
		t.Error(err)
	}
}
