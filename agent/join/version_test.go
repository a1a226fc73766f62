package join

import "testing"

func TestVersions(t *testing.T) {
	order := []string{
		"v0.0.0+3.g0123abcd", "v0.1.0-rc.1", "v0.1.0-rc.2", "v0.1.0-rc.10", "v0.1.0", "v0.1.0-1-g0123abc", "v0.1.0+2.gabcdef012345",
		"v0.1.0+10.g0123abcd.dirty", "v0.1.1", "v0.2.0", "v0.10.0", "v1.0.0",
	}
	for i, a := range order {
		for j, b := range order {
			after, known := newer(a, b)
			if known != (i != j) || after != (i < j) {
				t.Errorf("%s, then %s: %v, known %v", a, b, after, known)
			}
		}
	}
	f := func(a, b string, want bool) {
		t.Helper()
		if got := same(a, b); got != want {
			t.Errorf("%s and %s the same: %v", a, b, got)
		}
	}
	f("v0.2.0", "0.2.0", true)
	f("v0.2.0-rc.1", "0.2.0~rc.1", true)
	f("v0.2.0-5-g0123abc", "0.2.0+5.g0123abc", true)
	f("v0.2.0+5.g0123abc", "0.2.0+5.g0123abd", false)
	f("v0.2.0", "v0.2.0-dirty", false)
	f("dev", "dev", true)
	for _, pair := range [][2]string{{"dev", "v1.0.0"}, {"v1.0.0", "3f2a9bc"}, {"v0.2.0+5.g0123abc", "v0.2.0+5.g0123abd"}, {"v0.2.0", "v0.2.0-dirty"}, {"v1", "v2"}, {"", "v1.0.0"}} {
		if after, known := newer(pair[0], pair[1]); after || known {
			t.Errorf("%v: which is newer cannot be known", pair)
		}
	}
}

// A build of no known order, too, is the one that its package is named for.
func TestSameInAPackage(t *testing.T) {
	for program, named := range map[string]string{
		"v0.0.0+dev": "0.0.0+dev", "v0.3.0-rc1": "0.3.0~rc1", "v0.0.0+300.gbe4fa21ea335.dirty": "0.0.0+300.gbe4fa21ea335.dirty", "dev": "dev",
	} {
		if !same(program, named) || same(program, named+"1") {
			t.Errorf("%s and %s", program, named)
		}
	}
}
