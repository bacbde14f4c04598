#!/usr/bin/env bash
# Builds both binaries into one folder, with one build id: at hello the agent refuses a worker of another build.
#
#   build/build.sh OUT [LDFLAGS]     Go's settings come from outside: env.sh, or release.sh

. "$(dirname "$0")/lib.sh"

out=${1:?usage: build.sh OUT [LDFLAGS]}
read -r version commit < <("$root/build/version.sh")
ldflags="${2:-} -X edgeagent/internal/build.Version=$version -X edgeagent/internal/build.Commit=$commit"

cd "$root"
mkdir -p "$out"
for pair in agent:edge-agent capture:edge-agent-capture; do
	go build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$out/${pair#*:}" "./cmd/${pair%%:*}"
done

# The runtime is searched beside the binary. Replaced by a rename: the old one may be mapped by a running agent.
library=$cache/runtime/${GOARCH:-$(this_arch)}/libLiteRt.so
if ! cmp -s "$library" "$out/libLiteRt.so"; then
	cp "$library" "$out/libLiteRt.so.new"
	mv "$out/libLiteRt.so.new" "$out/libLiteRt.so"
fi
