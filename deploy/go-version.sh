#!/bin/sh
# Refuses a Go that cannot build this, in one sentence with the remedy.
go=$1
needed=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
remedy="install Go $needed or newer from https://go.dev/dl/ and put its bin directory first in PATH"

if ! command -v "$go" >/dev/null 2>&1; then
	echo "vitals needs Go $needed to build, and '$go' is not on this machine: $remedy." >&2
	exit 1
fi
# With GOTOOLCHAIN=local an old Go answers for itself instead of fetching.
have=$(GOTOOLCHAIN=local GOFLAGS= GOWORK=off "$go" env GOVERSION 2>/dev/null)
[ -n "$have" ] || have=$("$go" version 2>/dev/null | awk '{print $3}')
version=${have#go}
oldest=$(printf '%s\n%s\n' "$needed" "$version" | sort -V | head -n 1)
if [ "$oldest" != "$needed" ]; then
	echo "vitals needs Go $needed to build, and this machine has ${have:-an older one}: $remedy." >&2
	exit 1
fi
