#!/usr/bin/env bash
# arm64 on this machine, by qemu: the CPU's worker must give photographs the same labels as here, and what loading
# LiteRT's GPU library does to a Cortex-A72, which the agent has to survive. The figures last.

. "$(dirname "$0")/lib.sh"
cd "$root"

[ "$(this_arch)" = amd64 ] || die "this compares amd64 with arm64: run it on amd64"
build/runtime.sh amd64
build/runtime.sh arm64
build/runtime.sh arm64 gpu
qemu=$(build/qemu.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export EDGE_AGENT_TEST_PICTURES=${PICTURES:-10}

go test -c -o "$work/amd64" ./delegates/engine
CC=aarch64-linux-gnu-gcc GOARCH=arm64 go test -c -o "$work/arm64" ./delegates/engine
CC=aarch64-linux-gnu-gcc GOARCH=arm64 go test -c -o "$work/door" ./internal/litert
labels() {
	(cd delegates/engine && "$@" -test.run '^TestLabelsOfTheCPU$' -test.v) | grep -o 'labels of .*' | sort
}
labels "$work/amd64" >"$work/here"
labels "$qemu" -cpu max -L /usr/aarch64-linux-gnu "$work/arm64" >"$work/there"
diff "$work/here" "$work/there" || failed=1
same=0 all=0
while read -r a b; do
	all=$((all + 1))
	[ "$a" != "$b" ] || same=$((same + 1))
done < <(paste -d' ' <(tr ' ' '\n' <"$work/here" | grep -E '^[0-9]+$') <(tr ' ' '\n' <"$work/there" | grep -E '^[0-9]+$'))

# A program that loads the library there dies; a worker's death is what the agent then tells as absent.
status=0
(cd internal/litert && EDGE_AGENT_TEST_LOAD_GPU=1 "$qemu" -cpu cortex-a72 -L /usr/aarch64-linux-gnu "$work/door" -test.run '^TestLoadingTheGPULibrary$') >"$work/a72" 2>&1 || status=$?
grep -q 'SIGILL\|compiled with\|uncaught target signal 4' "$work/a72" || {
	cat "$work/a72" >&2
	failed=1
}

printf '\n== figures\n'
echo "arm64_same_labels_of_$all: $same"
echo "gpu_library_on_cortex_a72_exit: $status"
[ "$all" -gt 0 ] && [ "$status" -ne 0 ] || failed=1
exit ${failed:-0}
