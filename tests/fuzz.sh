#!/bin/sh
# Runs every fuzz target of the module for a bounded time: tests/fuzz.sh 10s
set -eu
for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file"); do
		echo "fuzz $target in $(dirname "$file") for $1"
		# Minimising an input is bounded too: Go's default looks like a hang.
		"${GO:-go}" test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "$(dirname "$file")"
	done
done
