package join

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

// version is what a build is called: v1.2.3, v1.2.3-rc.1, v1.2.3+5.g0123abc five
// commits later (also v1.2.3-5-g0123abc, as git describe has it), and any of
// these with dirty behind it. In packages a dash is a tilde, and the v is missing.
type version struct {
	numbers [3]int
	pre     string // of 1.2.3-rc.1
	commits int
	commit  string
	dirty   bool
}

var versionForm = regexp.MustCompile(`^v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:[-~]([0-9A-Za-z.]+?))??(?:[-+~](\d{1,9})[-.~]g([0-9a-f]{4,64}))?([-.~+]dirty)?$`)

func parseVersion(text string) (v version, ok bool) {
	m := versionForm.FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	for i := range v.numbers {
		v.numbers[i], _ = strconv.Atoi(m[i+1]) // at most nine digits
	}
	v.commits, _ = strconv.Atoi(m[5])
	v.pre, v.commit, v.dirty = m[4], m[6], m[7] != ""
	return v, true
}

// same reports whether two names are of the same build.
func same(a, b string) bool {
	va, okA := parseVersion(a)
	vb, okB := parseVersion(b)
	inPackages := func(text string) string { return strings.ReplaceAll(strings.TrimPrefix(text, "v"), "-", "~") }
	return okA && okB && va == vb || inPackages(a) == inPackages(b)
}

// newer reports whether the build b comes after a, and whether that can be known.
func newer(a, b string) (after, known bool) {
	va, okA := parseVersion(a)
	vb, okB := parseVersion(b)
	if !okA || !okB {
		return false, false
	}
	c := 0
	for i := range va.numbers {
		c = cmp.Or(c, cmp.Compare(va.numbers[i], vb.numbers[i]))
	}
	c = cmp.Or(c, comparePre(va.pre, vb.pre), cmp.Compare(va.commits, vb.commits))
	return c < 0, c != 0
}

// comparePre compares what is before a version: nothing is the version itself,
// and numbers count as such.
func comparePre(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		na, errA := strconv.Atoi(as[i])
		nb, errB := strconv.Atoi(bs[i])
		c := strings.Compare(as[i], bs[i])
		switch {
		case errA == nil && errB == nil:
			c = cmp.Compare(na, nb)
		case errA == nil:
			c = -1
		case errB == nil:
			c = 1
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
