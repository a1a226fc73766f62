//go:build fault_drop4xx

package influx

import "net/http"

// stored takes a refusal for a success: a mistake that the fault tests must
// find.
func stored(status int) bool { return status == http.StatusNoContent || status/100 == 4 }
