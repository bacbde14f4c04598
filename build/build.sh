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

# The runtimes are searched beside the binary. Replaced by a rename: the old ones may be mapped by a running agent.
runtimes=$cache/runtime/${GOARCH:-$(this_arch)}
for library in libLiteRt.so gpu/libLiteRtWebGpuAccelerator.so tflite/libLiteRt.so; do
	if [ -f "$runtimes/$library" ] && ! cmp -s "$runtimes/$library" "$out/$library"; then
		mkdir -p "$(dirname "$out/$library")"
		cp "$runtimes/$library" "$out/$library.new"
		mv "$out/$library.new" "$out/$library"
	fi
done
