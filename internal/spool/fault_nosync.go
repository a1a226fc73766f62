//go:build fault_nosync

package spool

import "os"

// host leaves out fdatasync: a mistake that the fault tests must find.
type host struct{ kernel }

func (host) Datasync(*os.File) error { return nil }
