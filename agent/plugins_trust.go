package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/trust"
)

const trustHelp = `Writes the SHA-256 of each FILE, as it is now, to the lock file: with plugin_policy =
"pinned" the agent runs no drop-in that is not there, or has changed since. The lock
file is that of the agent that runs here; without one plugin_lock_file in [agent] of the
node file, else /etc/vitals/plugins.lock. sha256sum -c reads it too.

  --remove         take each FILE out of the lock file
  --config FILE    the node file that names the lock file, whatever agent runs

  sudo vitals-agent plugins trust /usr/local/lib/vitals/plugins/vitals-plugin-load
`

// trustPlugins pins files, or frees them.
func trustPlugins(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	agent, err := trustedBy(ctx, f)
	if err != nil {
		return err
	}
	lock := agent.Trust.LockFile
	for _, path := range f.args {
		if f.remove {
			if err := trust.Unpin(lock, path); err != nil {
				return lockError(lock, err)
			}
			fmt.Fprintf(stdout, "%s is not pinned any more in %s\n", shown(path), lock)
			continue
		}
		sum, err := trust.Pin(lock, path)
		if err != nil {
			return lockError(lock, err)
		}
		fmt.Fprintf(stdout, "%s  %s\n", sum, shown(path))
		if err := refusal(agent.Trust, path); err != nil {
			fmt.Fprintln(stderr, "warning: pinned, and yet the agent would not run it:", shown(err.Error()))
		}
	}
	if !f.remove && !agent.Trust.Pinned {
		fmt.Fprintf(stderr, "pinned in %s; it counts once [agent] says plugin_policy = \"pinned\"\n", lock)
	}
	return nil
}

// lockError says what to do where the lock file may not be written.
func lockError(lock string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; %s is the owner's of this machine to write: try again with sudo", err, lock)
	}
	return err
}

// trustedBy is the table of the node file that is named; where none is, that of
// the agent that runs here, for it is the one that asks for the pin.
func trustedBy(ctx context.Context, f *flags) (config.Agent, error) {
	if !f.sources.Empty() {
		return agentTable(f)
	}
	running, asked := askStatus(ctx)
	if asked == nil {
		f.sources = running.Sources
	}
	agent, err := agentTable(f)
	if err == nil && running.LockFile != "" {
		agent.Trust.LockFile = running.LockFile
	}
	return agent, err
}
