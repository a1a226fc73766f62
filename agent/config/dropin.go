package config

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/agent/trust"
	"github.com/rpicluster/vitals/internal/nodefile"
)

const (
	// defaultMemory is four times what a collector in Python or JavaScript
	// takes that does nothing yet: see docs/operating.md.
	defaultMemory = 512 << 20
	// leastMemory is what a collector in Go takes that does nothing yet, and less
	// than one in any other language that there is a kit for.
	leastMemory = 80 << 20
	// defaultLines is more than any sound collector has to say at once, and
	// defaultSeries more than it may invent in an hour.
	defaultLines, defaultSeries = 10000, 10000
)

// trust reads what is trusted of the files in the plugin directories.
func (l *loader) trust(s *nodefile.Section, t *agentTable) trust.Rules {
	rules := trust.Rules{Directories: t.PluginDirectory, Owner: -1, Pinned: t.PluginPolicy == "pinned", LockFile: t.PluginLockFile}
	if t.PluginPolicy != "permissions" && t.PluginPolicy != "pinned" {
		l.fail(s.Errorf("plugin_policy", `%q is no policy; it is "permissions" or "pinned"`, t.PluginPolicy))
	}
	if !filepath.IsAbs(t.PluginLockFile) {
		l.fail(s.Errorf("plugin_lock_file", "%q is not a whole path, which begins with /", t.PluginLockFile))
	}
	if t.PluginOwner == "" {
		return rules
	}
	uid, err := strconv.ParseUint(t.PluginOwner, 10, 31)
	if u, lookup := user.Lookup(t.PluginOwner); lookup == nil {
		uid, err = strconv.ParseUint(u.Uid, 10, 31)
	}
	if err != nil {
		l.fail(s.Errorf("plugin_owner", "there is no user %q on this machine; name one, or give the number", t.PluginOwner))
		return rules
	}
	rules.Owner = int(uid)
	return rules
}

// limits reads what the programs of drop-ins are held to.
func (l *loader) limits(s *nodefile.Section, t *agentTable) program.Limits {
	if t.PluginMemoryMax != 0 && t.PluginMemoryMax < leastMemory {
		l.fail(s.Errorf("plugin_memory_max", "must be at least 80MiB, with which a collector in Go just starts, or 0 for no bound"))
	}
	limits := program.Limits{Memory: int64(t.PluginMemoryMax)}
	if t.PluginUser == "" {
		return limits
	}
	u, err := user.Lookup(t.PluginUser)
	if err != nil {
		u, err = user.LookupId(t.PluginUser)
	}
	if err != nil {
		l.fail(s.Errorf("plugin_user", "there is no user %q on this machine", t.PluginUser))
		return limits
	}
	as, err := account(u)
	switch {
	case err != nil:
		l.fail(s.Errorf("plugin_user", "the groups of %s cannot be read: %v", t.PluginUser, err))
	case int(as.UID) == os.Geteuid(): // as the agent
	case os.Geteuid() != 0:
		l.fail(s.Errorf("plugin_user", "only an agent that is root can start programs as %s; run it as root, or leave this out", t.PluginUser))
	default:
		limits.User = as
	}
	return limits
}

// account is u as the kernel knows it.
func account(u *user.User) (*program.User, error) {
	names, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, name := range append([]string{u.Uid, u.Gid}, names...) {
		number, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, uint32(number))
	}
	return &program.User{UID: numbers[0], GID: numbers[1], Groups: numbers[2:]}, nil
}
