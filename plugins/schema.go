package plugins

import (
	"fmt"
	"os"
	"path/filepath"
)

// Schema is an option of the collectors that replace older ones of a cluster:
// under which names they report. Its zero value is not valid; New sets it.
type Schema string

const (
	// Telegraf: the measurement, tags and fields of Telegraf's input.
	Telegraf Schema = "telegraf"
	// Cluster: the older names, with the tag node instead of host.
	Cluster Schema = "cluster"
)

// UnmarshalText refuses every other name while the options are decoded.
func (s *Schema) UnmarshalText(text []byte) error {
	switch v := Schema(text); v {
	case Telegraf, Cluster:
		*s = v
		return nil
	}
	return fmt.Errorf("expected %q or %q, not %q", Telegraf, Cluster, text)
}

// HostProc returns a path below /proc, or below $HOST_PROC in a container that
// has the /proc of its host mounted elsewhere.
func HostProc(elem ...string) string { return under("HOST_PROC", "/proc", elem) }

// HostSys is HostProc for /sys and $HOST_SYS.
func HostSys(elem ...string) string { return under("HOST_SYS", "/sys", elem) }

// HostEtc is HostProc for /etc and $HOST_ETC.
func HostEtc(elem ...string) string { return under("HOST_ETC", "/etc", elem) }

func under(variable, fallback string, elem []string) string {
	root := os.Getenv(variable)
	if root == "" {
		root = fallback
	}
	return filepath.Join(append([]string{root}, elem...)...)
}
