//go:build !fault_drop4xx

package influx

import "net/http"

// stored reports whether a status says that every line is.
func stored(status int) bool { return status == http.StatusNoContent }
