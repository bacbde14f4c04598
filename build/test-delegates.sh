#!/usr/bin/env bash
# The long tests of delegates: the whole table of faults through the real agent, the chain with a made-up delegate,
# the doors, what the chain costs a frame. The figures last.

. "$(dirname "$0")/lib.sh"

cd "$root"
export EDGE_AGENT_TEST_DELEGATES=all EDGE_AGENT_TEST_LONG=1
figures=$cache/figures
build/test-libs.sh tflite || say "the tests go on without it"
build/runtime.sh "$(this_arch)" gpu || say "the tests go on without it"
[ "$(this_arch)" != amd64 ] || build/test-libs.sh swiftshader || say "the tests go on without it"
go build -o "$cache/bin/testlog" ./build/testlog

failed=0
go test -json -count=1 -timeout 20m ./delegates/... ./internal/tflite ./internal/litert | "$cache/bin/testlog" -figures "$figures.delegates" || failed=1
go test -json -count=1 -timeout 10m -run 'TestDelegate' ./cmd/agent | "$cache/bin/testlog" -figures "$figures.delegate-faults" || failed=1
go test -run '^$' -bench Chain -benchtime 20000x ./delegates |
	awk '/^BenchmarkChain/ { for (i = 3; i < NF; i += 2) if ($(i + 1) == "chain-µs") print "chain_cost_us: " $i }' >"$figures.delegate-bench" || failed=1

printf '\n== figures\n'
cat "$figures.delegates" "$figures.delegate-faults" "$figures.delegate-bench"
exit $failed
