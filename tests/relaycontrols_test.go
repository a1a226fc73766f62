package tests

import (
	"math/rand/v2"
	"syscall"
	"testing"
)

// TestRelayFaultControls runs the tests' instruments on relays with a mistake
// that was built in. An instrument that does not find it proves nothing about a
// relay without.
func TestRelayFaultControls(t *testing.T) {
	t.Parallel()
	seed := faultSeed(t)
	for i, control := range []struct {
		tag, mistake string
		find         func(t *testing.T, program string, random *rand.Rand) error
	}{
		{"fault_nosync", "does not sync what it writes", findByPowerCut},
		{"fault_nodirsync", "does not sync the names of its files", findByPowerCut},
		{"fault_ackearly", "answers before it has written", findByKill},
		{"fault_drop4xx", "drops what a destination refuses with 4xx", findByRefusal},
	} {
		t.Run(control.tag, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			program := newMachine(t).buildProgram("./relay", control.tag)
			for n := range faultCount(t, 1, 20) {
				err := control.find(t, program, random)
				if err == nil {
					t.Fatalf("a relay that %s passes for a sound one", control.mistake)
				}
				t.Logf("W3 a relay that %s is found out (%d): %v", control.mistake, n+1, err)
			}
		})
	}
}

func findByPowerCut(t *testing.T, program string, random *rand.Rand) error {
	p := newPowered(t, program, "", random)
	defer p.end(syscall.SIGKILL)
	return p.cutting(40)
}

func findByKill(t *testing.T, program string, random *rand.Rand) error {
	l := newLife(t, program)
	for range 100 {
		if _, _, err := l.killedAt(1+random.IntN(100), false); err != nil {
			return err
		}
	}
	return nil
}

func findByRefusal(t *testing.T, program string, _ *rand.Rand) error {
	r := newRig(t, "")
	r.program = program
	r.run()
	defer r.end(syscall.SIGKILL)
	return r.refused()
}
