#!/usr/bin/env bash
# The long tests of delegates: the whole table of faults through the real agent, the chain with a made-up delegate,
# the doors, what the chain costs a frame; and the same faults on a Python program that is started again and again
# (build/bench/peer.py), and arm64 by qemu. The figures last.

. "$(dirname "$0")/lib.sh"

cd "$root"
export EDGE_AGENT_TEST_DELEGATES=all EDGE_AGENT_TEST_LONG=1
figures=$cache/figures
build/test-libs.sh tflite || say "the tests go on without it"
build/runtime.sh "$(this_arch)" gpu || say "the tests go on without it"
[ "$(this_arch)" != amd64 ] || build/test-libs.sh swiftshader || say "the tests go on without it"
go build -o "$cache/bin/testlog" ./build/testlog

failed=0
rm -f "$figures".delegate*
go test -json -count=1 -timeout 20m ./delegates/... ./internal/tflite ./internal/litert | "$cache/bin/testlog" -figures "$figures.delegates" || failed=1
go test -json -count=1 -timeout 30m -run 'TestDelegate|TestHalfPrecision|TestFirstResult|TestEvalOnTheGPU' ./cmd/agent | "$cache/bin/testlog" -figures "$figures.delegate-faults" || failed=1
if build/venv.sh "$cache/venv-bench" build/bench/requirements.txt; then
	EDGE_AGENT_TEST_PEER=$cache/venv-bench/bin/python go test -json -count=1 -timeout 10m -run 'TestPeer' ./cmd/agent |
		"$cache/bin/testlog" -figures "$figures.delegate-peer" || failed=1
else
	say "the tests go on without the Python peer"
fi
if [ "$(this_arch)" = amd64 ]; then
	build/test-qemu.sh | tee "$cache/qemu.log" || failed=1
	grep -E '^[a-z0-9_]+: ' "$cache/qemu.log" >"$figures.delegate-qemu" || true
fi
go test -run '^$' -bench Chain -benchtime 20000x ./delegates |
	bench_figures | sed -n 's/^chain_chain_us: /chain_cost_us: /p' >"$figures.delegate-bench" || failed=1

printf '\n== figures\n'
cat "$figures.delegates" "$figures.delegate-faults" "$figures.delegate-peer" "$figures.delegate-qemu" "$figures.delegate-bench" 2>/dev/null || true
exit $failed
