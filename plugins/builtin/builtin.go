// Package builtin lists the collectors that vitals-agent has built in.
package builtin

import (
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/cpu"
	"github.com/rpicluster/vitals/plugins/disk"
	"github.com/rpicluster/vitals/plugins/diskio"
	"github.com/rpicluster/vitals/plugins/exec"
	"github.com/rpicluster/vitals/plugins/execd"
	"github.com/rpicluster/vitals/plugins/kernel"
	"github.com/rpicluster/vitals/plugins/linux_cpu"
	"github.com/rpicluster/vitals/plugins/net"
	"github.com/rpicluster/vitals/plugins/node"
	"github.com/rpicluster/vitals/plugins/processes"
	"github.com/rpicluster/vitals/plugins/ram"
	"github.com/rpicluster/vitals/plugins/raspberrypi"
	"github.com/rpicluster/vitals/plugins/swap"
	"github.com/rpicluster/vitals/plugins/system"
	"github.com/rpicluster/vitals/plugins/temperature"
)

// All returns them in the order in which they are shown.
func All() []plugins.Description {
	return []plugins.Description{
		cpu.Description(), ram.Description(), swap.Description(), temperature.Description(), node.Description(),
		system.Description(),
		kernel.Description(),
		processes.Description(),
		net.Description(),
		raspberrypi.Description(),
		disk.Description(),
		diskio.Description(),
		linux_cpu.Description(),
		exec.Description(),
		execd.Description(),
	}
}
