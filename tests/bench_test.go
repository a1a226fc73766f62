package tests

import (
	"os/exec"
	"regexp"
	"testing"
)

// TestBenchMeasures holds that the tool behind make bench has a figure for each
// program in each round; what the figures are is nobody's promise.
func TestBenchMeasures(t *testing.T) {
	t.Parallel()
	// Long enough for a tick and for the flush after it, whatever place in the
	// interval this host's flushes have.
	cmd := exec.Command("go", "run", "./tests/bench", "-seconds", "25", "-peers=false", "-programs", "bin")
	cmd.Dir = root
	stdout, stderr, code := run(t, cmd)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, want := range []string{
		`(?m)^10s +vitals-agent, .* 2 +PSS ≤ 22\.0: .*; binary ≤ 18\.0: `,
		`(?m)^10s +vitals-relay, .* 1 +RSS ≤ 30\.0 idle: `,
		`(?m)^1s +vitals-agent, .* 0\.\d+ .* CPU ≤ 0\.25: `,
	} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("no line matches %s:\n%s\n%s", want, stdout, stderr)
		}
	}
}
