package plugins

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// goPluginEnv are the variables that go-plugin gives to a plugin.
var goPluginEnv = []string{
	"PLUGIN_MIN_PORT", "PLUGIN_MAX_PORT", "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_CLIENT_CERT",
	"PLUGIN_UNIX_SOCKET_DIR", "PLUGIN_UNIX_SOCKET_GROUP", "PLUGIN_MULTIPLEX_GRPC",
}

// Environ is the environment for a program that a collector runs for its owner:
// that of this process without what makes it a plugin, and with extra after it,
// each "NAME=value". A program that is itself written with this package thus
// does not take itself for a plugin of the agent.
func Environ(extra ...string) []string {
	added := append(strings.Split(os.Getenv(AddedEnv), ","), goPluginEnv...)
	added = append(added, AddedEnv, LifelineEnv, GuardEnv, Handshake().MagicCookieKey)
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(added, name)
	})
	return append(env, extra...)
}

// CheckEnvironment refuses what is no list of "NAME=value".
func CheckEnvironment(list []string) error {
	for _, kv := range list {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" || strings.ContainsRune(kv, 0) {
			return fmt.Errorf("%q is not of the form \"NAME=value\"", kv)
		}
	}
	return nil
}
