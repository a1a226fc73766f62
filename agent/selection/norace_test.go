//go:build !race

package selection

const poolsForget = false
