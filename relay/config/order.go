package config

import (
	"cmp"
	"errors"
	"slices"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// inOrder joins mistakes in the order of their lines, each once.
func inOrder(errs []error) error {
	var flat []error
	for _, err := range errs {
		flat = append(flat, unjoin(err)...)
	}
	slices.SortStableFunc(flat, func(a, b error) int {
		return cmp.Or(cmp.Compare(lineOf(a), lineOf(b)), cmp.Compare(a.Error(), b.Error()))
	})
	return errors.Join(flat...)
}

func unjoin(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var flat []error
	for _, e := range joined.Unwrap() {
		flat = append(flat, unjoin(e)...)
	}
	return flat
}

func lineOf(err error) int {
	var e *nodefile.Error
	if errors.As(err, &e) {
		return e.Line
	}
	return 0
}
