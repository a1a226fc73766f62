package collect

import (
	"slices"
	"strings"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/plugins"
)

// runsPrograms reports whether an input is one of those whose collector, built
// in and therefore trusted, does nothing but run the programs that the node
// file names. Their process sees the agent's own environment, for those
// programs expect it, as in Telegraf; no other does.
func runsPrograms(in config.Input) bool {
	return in.Executable == "" && (in.Name == "exec" || in.Name == "execd")
}

// environment is what the process of an input sees of the agent's, all.
func environment(all []string, in config.Input) []string {
	env := slices.Clone(all)
	if !runsPrograms(in) {
		env = slices.DeleteFunc(env, private)
	}
	for name, value := range in.Env {
		env = append(env, name+"="+value)
	}
	if in.Executable == "" {
		env = sized(env)
	}
	return env
}

// private are all variables but those that tell a plugin where programs are
// found, how its user writes and tells the time, and where a container has the
// machine's files. No secret of the agent's is among these.
func private(kv string) bool {
	name, _, _ := strings.Cut(kv, "=")
	return name != "PATH" && name != "LANG" && name != "TZ" && !strings.HasPrefix(name, "HOST_")
}

// sized adds the sizes of a process that lives on a few KiB a second, where
// the owner has set none, and names what it adds: programs that the process
// runs are not to be held to them.
func sized(env []string) []string {
	var added []string
	for _, kv := range []string{"GOMEMLIMIT=16MiB", "GOGC=50", "GOMAXPROCS=1"} {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, name+"=") }) {
			env = append(env, kv)
			added = append(added, name)
		}
	}
	return append(env, plugins.AddedEnv+"="+strings.Join(added, ","))
}

// searchPath is where a process of this environment looks for programs.
func searchPath(env []string) (path string) {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = value // the last counts
		}
	}
	return path
}

// BareEnvironment is what a drop-in sees of the agent's, all, where its table
// adds nothing.
func BareEnvironment(all []string) []string {
	return withPython(environment(all, config.Input{Executable: "a drop-in"}))
}
