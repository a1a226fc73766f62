package collect

import (
	"slices"
	"strings"
)

// pythonDirectory is where an installation keeps what collectors in Python
// import: vitals_plugin.
const pythonDirectory = "/usr/lib/vitals/python"

// withPython lets a drop-in find that, unless its owner has said where to look.
func withPython(env []string) []string {
	if slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "PYTHONPATH=") }) {
		return env
	}
	return append(env, "PYTHONPATH="+pythonDirectory)
}
