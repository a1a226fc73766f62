package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/rights"
)

func TestDirectory(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
	if got := Directory(); got != "/run/a" {
		t.Errorf("with RUNTIME_DIRECTORY: %s", got)
	}
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1")
	want := "/run/user/1/vitals"
	if os.Geteuid() == 0 {
		want = "/run/vitals"
	}
	if got := Directory(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A command finds the program that systemd has started without being told where.
func TestTheSocketOfTheUnit(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else may make the unit's directory
	}
	t.Setenv("RUNTIME_DIRECTORY", "")
	name := "test" + strconv.Itoa(os.Getpid())
	if got := Path(name); got != "/run/vitals/"+name+".sock" {
		t.Errorf("with no unit: %s", got)
	}
	unit := "/run/vitals-" + name
	t.Cleanup(func() { os.RemoveAll(unit) })
	t.Setenv("RUNTIME_DIRECTORY", unit)
	ln, err := Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	t.Setenv("RUNTIME_DIRECTORY", "")
	if got := Path(name); got != unit+"/"+name+".sock" || !Running(name) {
		t.Errorf("the unit's is not found: %s", got)
	}
	if _, err := Listen(name); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("a second one runs beside the unit's: %v", err)
	}
}

func TestGetAndPost(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(t.TempDir(), "run"))
	ln, err := Listen("agent")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]int{"lines": 7})
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	srv := &http.Server{Handler: mux}
	go srv.Serve(ln)
	defer srv.Close()

	var got map[string]int
	if err := Get(t.Context(), "agent", "/status", &got); err != nil || got["lines"] != 7 {
		t.Errorf("Get: %v, %v", got, err)
	}
	var echo string
	if err := Post(t.Context(), "agent", "/echo", "hello", &echo); err != nil || echo != "hello" {
		t.Errorf("Post: %q, %v", echo, err)
	}
	if err := Get(t.Context(), "agent", "/nothing", nil); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown path: %v", err)
	}
	if _, err := Listen("agent"); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("a second program got the socket: %v", err)
	}
	if info, err := os.Stat(Path("agent")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	err := Get(t.Context(), "relay", "/status", nil)
	if err == nil || !strings.Contains(err.Error(), "the relay does not seem to run") {
		t.Errorf("no socket: %v", err)
	}
	// A socket left by a program that was killed.
	ln, err := Listen("relay")
	if err != nil {
		t.Fatal(err)
	}
	ln.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	ln.Close()
	if err := Get(t.Context(), "relay", "/status", nil); err == nil || !strings.Contains(err.Error(), "does not seem to run") {
		t.Errorf("stale socket: %v", err)
	}
	if ln, err = Listen("relay"); err != nil {
		t.Errorf("a stale socket was not replaced: %v", err)
	} else {
		ln.Close()
	}
}

func TestPathTooLong(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(t.TempDir(), strings.Repeat("x", 100)))
	if _, err := Listen("agent"); err == nil || !strings.Contains(err.Error(), "RUNTIME_DIRECTORY") {
		t.Errorf("got %v", err)
	}
}

// Whoever answers may not be what was meant, and the one who asks may be root.
func TestARefusalIsShortAndFitForATerminal(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(t.TempDir(), "run"))
	ln, err := Listen("agent")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "first\n\tsecond \x1b[31m\u009b\a"+strings.Repeat("x", 1<<20))
	})}
	go srv.Serve(ln)
	defer srv.Close()
	err = Get(t.Context(), "agent", "/status", nil)
	if err == nil || !strings.HasPrefix(err.Error(), "first\n\tsecond \ufffd[31m\ufffd\ufffdxxx") || len(err.Error()) > 100<<10 {
		t.Errorf("%d bytes: %.60q", len(err.Error()), err)
	}
}

func TestWhoseSocketItIs(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	if err := Reach("agent"); err == nil || !strings.Contains(err.Error(), "does not seem to run") || errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	ln, err := Listen("agent")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := Reach("agent"); err != nil {
		t.Error(err)
	}
	his := t.TempDir()
	if os.Geteuid() != 0 {
		return // it takes another user
	}
	if err := os.Chown(his, 65533, 65533); err != nil {
		t.Fatal(err)
	}
	err = rights.AsOwner(his, func() error { return Reach("agent") })
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "try again with sudo") {
		t.Error(err)
	}
}

// A program that stands still is waited for no longer than the caller likes to.
func TestNoAnswerInTime(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	ln, err := Listen("agent") // which takes connections, and reads none
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Get(ctx, "agent", "/status", nil); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "the agent does not answer") {
		t.Error(err)
	}
}
