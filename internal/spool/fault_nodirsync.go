//go:build fault_nodirsync

package spool

// host leaves out fsync of directories: a mistake that the fault tests must
// find.
type host struct{ kernel }

func (host) SyncDirectory(string) error { return nil }
