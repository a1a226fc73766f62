//go:build !linux

package raspberrypi

import "errors"

// openVCIO tells that only Linux has this device.
func openVCIO(string) (device, error) { return nil, errors.ErrUnsupported }

func isRefusal(err error) bool { return errors.Is(err, errors.ErrUnsupported) }
