//go:build !linux

package system

import "github.com/shirou/gopsutil/v3/host"

func uptime() (seconds uint64, err error) { return host.Uptime() }
