package auth

import (
	"crypto/rand"
	"encoding/base32"
	"net/http"
	"strings"
)

// A token reads vt_ID_SECRET: the ID finds it and may be shown, the secret has
// 256 random bits and is shown once.
const (
	tokenPrefix = "vt_"
	idBytes     = 5
	secretBytes = 32
	// maxShown is more than any token has: longer ones are wrong unread.
	maxShown = 256
)

// encoding has only what needs no escaping in a URL, a header or TOML.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // ends the program rather than fail
	return encoding.EncodeToString(b)
}

// cut cuts a token into its ID and its secret.
func cut(token string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(token) > maxShown {
		return "", "", false
	}
	return strings.Cut(rest, "_")
}

// shown returns the token that a request shows, in any of the forms that
// clients of the three InfluxDBs use. noUser says that the form has a user and
// it was empty.
func shown(r *http.Request) (token string, noUser bool, err error) {
	// Only the routes of InfluxDB 1.x take credentials from the URL: they end
	// up in histories and in the logs of proxies.
	if path := r.URL.Path; (path == "/write" || path == "/query") && strings.Contains(r.URL.RawQuery, "p=") {
		q := r.URL.Query()
		if p := q.Get("p"); p != "" {
			return p, q.Get("u") == "", nil
		}
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", false, ErrMissing
	}
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "Basic"):
		user, password, ok := r.BasicAuth()
		if !ok {
			return "", false, ErrMalformed
		}
		return password, user == "", nil
	case value == "":
	case strings.EqualFold(scheme, "Bearer"):
		return value, false, nil
	case strings.EqualFold(scheme, "Token"):
		if i := strings.LastIndexByte(value, ':'); i >= 0 {
			return value[i+1:], i == 0, nil
		}
		return value, false, nil
	}
	return "", false, ErrMalformed
}
