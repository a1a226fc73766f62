//go:build race

package selection

// poolsForget: with the race detector what a sync.Pool holds is dropped at
// random, and a regular expression allocates anew.
const poolsForget = true
