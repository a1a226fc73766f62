package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/internal/rights"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/config"

	"github.com/rpicluster/vitals/internal/pin"
)

// tokenReference is how the agent's part names the token that setup makes.
const tokenReference = "@{vitals:relay}"

// plan is what shall become of the node file.
type plan struct {
	old       []byte // what is there; nil: there is none
	mode      fs.FileMode
	uid, gid  int
	configure bool // it lacks the relay's part
}

// look reads the node file that is there. One with a relay's part is somebody's
// work, or an earlier setup's.
func (s *setup) look(context.Context) error {
	text, err := os.ReadFile(s.NodeFile)
	if errors.Is(err, fs.ErrNotExist) {
		s.plan = plan{mode: 0o644, configure: true}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the node file: %w", err)
	}
	info, err := os.Stat(s.NodeFile)
	if err != nil {
		return fmt.Errorf("read the node file: %w", err)
	}
	s.plan = plan{old: text, mode: info.Mode().Perm()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.plan.uid, s.plan.gid = int(st.Uid), int(st.Gid)
	}
	f, err := nodefile.Load(s.NodeFile, "relay")
	if f == nil || err != nil {
		return fmt.Errorf("%w\nmend it, or move it away, and run vitals-relay init again", err)
	}
	if _, there := f.Table("relay"); !there {
		s.plan.configure = true
		return nil
	}
	if s.config, err = config.Load(s.NodeFile); err != nil {
		return fmt.Errorf("%w\nmend it, or move it away, and run vitals-relay init again", err)
	}
	return nil
}

// defaults are the options that the node file leaves out.
func (s *setup) defaults() (*config.Config, error) { return config.Load("") }

// loopback reports whether only this machine reaches an address.
func loopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkListen refuses an address where something else listens.
func (s *setup) checkListen(context.Context) error {
	if !s.plan.configure {
		return nil
	}
	if s.Relay.Running() {
		return nil // by the old node file; it is started anew
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("the relay could not listen there: %w; --listen names another address", err)
	}
	return l.Close()
}

// dataDirectory is where the relay keeps what it keeps, and whose it is.
func (s *setup) dataDirectory() (path string, uid, gid int, err error) {
	c := s.config
	if c == nil {
		if c, err = s.defaults(); err != nil {
			return "", 0, 0, err
		}
	}
	uid, gid = rights.User("vitals-relay")
	return c.DataDirectory, uid, gid, makeDirectory(c.DataDirectory, 0o750, uid, gid)
}

// makeKey makes the key that nodes pin, where the relay is to have one of its own.
func (s *setup) makeKey(context.Context) error {
	own := s.CertFile == "" && !loopback(s.Listen)
	if s.config != nil {
		own = s.config.TLS.OwnKey
	}
	if !own {
		return nil
	}
	data, uid, gid, err := s.dataDirectory()
	if err != nil {
		return err
	}
	directory := filepath.Join(data, "tls")
	_, before := os.Lstat(filepath.Join(directory, "key.pem"))
	var certificates auth.Certificates
	err = rights.AsOwner(directory, func() (err error) {
		if certificates.CertFile, certificates.KeyFile, err = auth.OwnKey(directory); err != nil {
			return err
		}
		for _, path := range []string{directory, certificates.CertFile, certificates.KeyFile} {
			if err := give(path, uid, gid); err != nil {
				return err
			}
		}
		return certificates.Load()
	})
	if err != nil {
		return err
	}
	s.pin = certificates.Pin()
	if _, err := pin.Parse(s.pin); err != nil {
		return err
	}
	if before != nil {
		s.note("key", "sudo rm -r "+directory+" (every node would have to join again)", "%s, made in %s", s.pin, directory)
	} else {
		s.note("key", "", "%s, in %s as before", s.pin, directory)
	}
	return nil
}

// write writes the node file, whole or not at all. The one before is kept.
func (s *setup) write(ctx context.Context) error {
	if !s.plan.configure {
		s.note("node file", "", "%s has a relay's part already, and is left alone", s.NodeFile)
		s.noteDestination()
		return nil
	}
	if err := s.keepCredentials(); err != nil {
		return err
	}
	text, undo := s.agentPart()+s.relayPart(), "sudo rm "+s.NodeFile
	if s.plan.old != nil {
		copied, err := s.keepOld()
		if err != nil {
			return fmt.Errorf("keep a copy of the node file: %w", err)
		}
		text, undo = strings.TrimRight(string(s.plan.old), "\n")+"\n\n"+s.relayPart(), "sudo mv "+copied+" "+s.NodeFile
	}
	// It is looked at as the relay will, before anything is replaced by it.
	trial := s.NodeFile + ".trial"
	defer os.Remove(trial)
	if err := durable.WriteFor(trial, []byte(text), 0o600, 0, 0); err != nil {
		return fmt.Errorf("write the node file: %w", err)
	}
	c, err := config.Load(trial)
	if err != nil {
		return fmt.Errorf("the node file would not be sound: %w", err)
	}
	if err := durable.WriteFor(s.NodeFile, []byte(text), s.plan.mode, s.plan.uid, s.plan.gid); err != nil {
		return fmt.Errorf("write the node file: %w", err)
	}
	s.config, s.changed = c, true
	if s.plan.old != nil {
		s.note("node file", undo, "the relay's part is added to %s; the agent's stays as it is", s.NodeFile)
	} else {
		s.note("node file", undo, "%s written", s.NodeFile)
	}
	return nil
}

// keepOld copies the node file that was there to a name beside it.
func (s *setup) keepOld() (string, error) {
	path := s.NodeFile + ".before-init"
	if text, err := os.ReadFile(path); err == nil && string(text) != string(s.plan.old) {
		path += "." + time.Now().Format("20060102-150405")
	}
	return path, durable.WriteFor(path, s.plan.old, s.plan.mode, s.plan.uid, s.plan.gid)
}

// agentPart is the agent's part of a new node file.
func (s *setup) agentPart() string {
	host, port, _ := net.SplitHostPort(s.Listen)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	url, secured := "http://"+net.JoinHostPort(host, port), ""
	switch {
	case s.pin != "":
		url, secured = "https://"+net.JoinHostPort(host, port), fmt.Sprintf("  tls_pin = %q\n", s.pin)
	case s.CertFile != "":
		url, secured = "https://"+net.JoinHostPort(host, port), "  insecure_skip_verify = true   # it is this machine\n"
	}
	raspberry := ""
	if model, err := os.ReadFile("/proc/device-tree/model"); err == nil && strings.HasPrefix(string(model), "Raspberry Pi") {
		raspberry = "[[inputs.raspberrypi]]\n"
	}
	return fmt.Sprintf(`# Written by vitals-relay init on %s. It is yours to change:
# see "vitals-relay config check" and "vitals-relay reload".

[agent]
  interval = "10s"

[[inputs.cpu]]
  report_frequency = true
[[inputs.ram]]
[[inputs.swap]]
[[inputs.temperature]]
[[inputs.node]]
[[inputs.system]]
[[inputs.disk]]
  ignore_fs = ["tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs"]
%s
[[secretstores.files]]
  id = "vitals"
  path = %q

[[outputs.influxdb]]
  urls = [%q]
%s  database = "node_vitals"
  skip_database_creation = true
  username = "vitals"
  password = %q

`, time.Now().Format(time.DateOnly), raspberry, s.Secrets, url, secured, tokenReference)
}

// relayPart is the relay's part.
func (s *setup) relayPart() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[relay]\n  listen = %q\n\n[relay.auth]\n  mode = \"required\"\n", s.Listen)
	switch {
	case s.pin != "":
		b.WriteString("\n[relay.tls]\n  own_key = true\n")
	case s.CertFile != "":
		fmt.Fprintf(&b, "\n[relay.tls]\n  cert_file = %q\n  key_file = %q\n", s.CertFile, s.KeyFile)
	}
	b.WriteString(s.server.tables())
	return b.String()
}
