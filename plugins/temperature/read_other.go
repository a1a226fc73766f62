//go:build !linux

package temperature

import "os"

// readCelsius is plain where there is no /sys to be careful with.
func readCelsius(path string) (float64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return parseCelsius(data)
}
