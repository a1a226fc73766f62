//go:build !linux

package node

func uname() string { return "" }
