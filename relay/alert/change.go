package alert

import "slices"

// Change puts other rules and targets in the place of those there are. The
// targets whose names are in kept are what they were, and go on.
//
// What fires stays, and is over where no rule looks at it any more. A target is
// known by its name: one of the same name has been told what the one before was,
// and begins when that has told what it was about to.
func (e *Engine) Change(rules []Rule, targets []Target, kept []string) error {
	compiled, err := compile(rules)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.replace(targets, kept)
	before := e.rules
	e.rules = compiled
	e.strike(before)
	e.mu.Unlock()
	e.publish()
	return nil
}

// replace lets go of the targets that are not kept and begins the new ones. mu is
// held.
func (e *Engine) replace(targets []Target, kept []string) {
	before := e.targets
	e.leaving = slices.DeleteFunc(e.leaving, (*target).hasEnded)
	for _, t := range before {
		if !slices.Contains(kept, t.Name) {
			close(t.stop)
			e.leaving = append(e.leaving, t)
		}
	}
	if e.begin == nil {
		e.leaving = nil // none of them tells anything
	}
	e.targets = nil
	for _, t := range targets {
		if slices.Contains(kept, t.Name) {
			e.targets = append(e.targets, named(before, t.Name))
			continue
		}
		made := e.newTarget(t)
		for _, l := range e.leaving { // the last of this name
			if l.Name == t.Name {
				made.after = l
			}
		}
		e.targets = append(e.targets, made)
		if e.begin != nil {
			e.begin(made)
		}
	}
}
