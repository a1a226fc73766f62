package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/relay/fleet"
)

// ago says how long ago something was.
func ago(seconds float64) string {
	switch {
	case seconds < 1.5:
		return "now"
	case seconds < 90:
		return fmt.Sprintf("%.0f s ago", seconds)
	case seconds < 90*60:
		return fmt.Sprintf("%.0f min ago", seconds/60)
	case seconds < 36*3600:
		return fmt.Sprintf("%.0f h ago", seconds/3600)
	}
	return fmt.Sprintf("%.0f days ago", seconds/86400)
}

// byteText is a size as people say it, in powers of 1024.
func byteText(n float64) string {
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if n < 1000 {
			return digits(n) + " " + unit
		}
		n /= 1024
	}
	return digits(n) + " TB"
}

// digits writes two or three digits that matter.
func digits(n float64) string {
	if n < 9.95 && n != float64(int64(n)) {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

func frequency(mhz float64) string {
	if mhz >= 1000 {
		return fmt.Sprintf("%.1f GHz", mhz/1000)
	}
	return fmt.Sprintf("%.0f MHz", mhz)
}

// count writes a whole number with its thousands apart.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// about is the line under a node's name: what it is.
func about(n *fleet.Node) string {
	fact := func(name string) string { text, _ := n.Facts[name].(string); return text }
	var parts []string
	for _, p := range []string{cmp.Or(fact("model"), fact("cpu_name")), cores(n), cmp.Or(fact("os"), fact("kernel"))} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " · ")
}

func cores(n *fleet.Node) string {
	v, ok := n.Facts["cores"].(int64)
	arch, _ := n.Facts["architecture"].(string)
	switch {
	case ok && arch != "":
		return fmt.Sprintf("%d × %s", v, arch)
	case ok:
		return fmt.Sprintf("%d cores", v)
	}
	return arch
}

// uptime is how long a node had been up when it was last seen.
func uptime(n *fleet.Node) string {
	if n.UptimeSeconds == nil {
		return ""
	}
	switch seconds := *n.UptimeSeconds; {
	case seconds < 2*3600:
		return fmt.Sprintf("up %.0f min", seconds/60)
	case seconds < 48*3600:
		return fmt.Sprintf("up %.0f h", seconds/3600)
	default:
		return fmt.Sprintf("up %.0f days", math.Floor(seconds/86400))
	}
}

// shown are the facts that the card itself tells, in words or as a meter.
var shown = map[string]bool{
	"boot_time": true, "ram": true, "ram_bytes": true, "ram_total": true, "ram_total_bytes": true,
	"swap": true, "swap_bytes": true, "swap_total": true, "swap_total_bytes": true,
}

// factList is every other fact of a node, a line each.
func factList(n *fleet.Node) string {
	var lines []string
	for name, value := range n.Facts {
		if shown[name] {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %v", strings.ReplaceAll(name, "_", " "), value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// natural compares names so that pi-9 comes before pi-10.
func natural(a, b string) int {
	for a != "" && b != "" {
		na, restA := leadingNumber(a)
		nb, restB := leadingNumber(b)
		if na != "" && nb != "" {
			na, nb = strings.TrimLeft(na, "0"), strings.TrimLeft(nb, "0")
			if c := cmp.Or(cmp.Compare(len(na), len(nb)), strings.Compare(na, nb)); c != 0 {
				return c
			}
			a, b = restA, restB
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func leadingNumber(s string) (digits, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}
