//go:build !fault_nosync && !fault_nodirsync

package spool

// host is the system of a spool that is no test's.
type host struct{ kernel }
