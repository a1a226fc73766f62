//go:build !linux

package ram

import (
	"context"

	"github.com/rpicluster/vitals/plugins"
)

// addExtended has nothing to add where the kernel is not Linux.
func addExtended(context.Context, *plugins.Point) error { return nil }
