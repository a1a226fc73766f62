package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// thrift sizes the agent for what it is, a process that works for a few
// milliseconds every ten seconds, where its owner has not: no more than one
// thread of Go at a time, which on many processors would each keep memory of
// their own, and a heap that is cleared once it has grown by half.
func thrift() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}
