package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/rpicluster/vitals/agent/trust"
)

const trustHelp = `Writes the SHA-256 of each FILE, as it is now, to the lock file: with plugin_policy =
"pinned" the agent runs no drop-in that is not there, or has changed since. The lock
file is /etc/vitals/plugins.lock unless plugin_lock_file in [agent] says otherwise;
sha256sum -c reads it too.

  --remove         take each FILE out of the lock file
  --config FILE    the node file; without it $VITALS_CONFIG, else /etc/vitals/node.toml

  sudo vitals-agent plugins trust /usr/local/lib/vitals/plugins/vitals-plugin-load
`

// trustPlugins pins files, or frees them.
func trustPlugins(_ context.Context, f *flags, stdout, stderr io.Writer) error {
	agent, err := agentTable(f)
	if err != nil {
		return err
	}
	lock := agent.Trust.LockFile
	for _, path := range f.args {
		if f.remove {
			if err := trust.Unpin(lock, path); err != nil {
				return lockError(lock, err)
			}
			fmt.Fprintf(stdout, "%s is not pinned any more in %s\n", path, lock)
			continue
		}
		sum, err := trust.Pin(lock, path)
		if err != nil {
			return lockError(lock, err)
		}
		fmt.Fprintf(stdout, "%s  %s\n", sum, path)
		if err := refusal(agent.Trust, path); err != nil {
			fmt.Fprintln(stderr, "warning: pinned, and yet the agent would not run it:", err)
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
