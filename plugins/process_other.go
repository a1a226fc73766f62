//go:build !linux

package plugins

import "os"

// redirect leaves descriptor 1 alone: os.Stdout is all that Go code prints to.
func redirect(*os.File) {}

// closeOnExec is for the systems on which vitals runs as a service.
func closeOnExec(int) {}
