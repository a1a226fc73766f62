#!/bin/sh
# Writes the Go and Python code of collector.proto; with --check only says
# whether what is committed is up to date. Needs protoc (Debian:
# protobuf-compiler); the Go generators are tools of this module.
set -eu
cd "$(dirname "$0")"
out=.
[ "${1:-}" != --check ] || out=$(mktemp -d)
tools=$(mktemp -d)
trap 'rm -rf "$tools"; [ "$out" = . ] || rm -rf "$out"' EXIT

command -v protoc >/dev/null || { echo "protoc is missing: apt-get install protobuf-compiler" >&2; exit 1; }
${GO:-go} build -o "$tools/" google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
mkdir -p "$out/python"
PATH=$tools:$PATH protoc -I. \
	--go_out="$out" --go_opt=paths=source_relative \
	--go-grpc_out="$out" --go-grpc_opt=paths=source_relative \
	--python_out="$out/python" collector.proto

if [ "$out" != . ]; then
	for f in collector.pb.go collector_grpc.pb.go python/collector_pb2.py; do
		# Which protoc wrote the file does not matter, what it wrote does.
		sed -i '/protoc  *v/d' "$out/$f"
		if ! sed '/protoc  *v/d' "$f" | cmp -s - "$out/$f"; then
			echo "plugins/proto/$f is not what collector.proto says: run 'make generate' and commit" >&2
			exit 1
		fi
	done
fi
