package ingest

import (
	"net/http"
	"strings"
)

// misreader is what InfluxData's client for JavaScript calls itself. It takes
// the seconds of Retry-After for milliseconds, has used up its attempts within
// one second, and throws the lines away. Without the header it waits longer each
// time, for minutes.
const misreader = "influxdb-client-js/"

// untimed is w for a client that misreads Retry-After: it never sees one.
type untimed struct{ http.ResponseWriter }

func forMisreader(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if !strings.HasPrefix(r.Header.Get("User-Agent"), misreader) {
		return w
	}
	return untimed{w}
}

// WriteHeader implements http.ResponseWriter.
func (u untimed) WriteHeader(status int) {
	u.Header().Del("Retry-After")
	u.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (u untimed) Unwrap() http.ResponseWriter { return u.ResponseWriter }
