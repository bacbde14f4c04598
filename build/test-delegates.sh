#!/usr/bin/env bash
# The long tests of delegates: the whole table of faults through the real agent, the chain with a made-up delegate,
# the doors, what the chain costs a frame. The figures last.

. "$(dirname "$0")/lib.sh"

cd "$root"
export EDGE_AGENT_TEST_DELEGATES=all
figures=$cache/figures
build/test-libs.sh tflite || say "the tests go on without it"
go build -o "$cache/bin/testlog" ./build/testlog

failed=0
go test -json -count=1 -timeout 10m ./delegates/... ./internal/tflite | "$cache/bin/testlog" -figures "$figures.delegates" || failed=1
go test -json -count=1 -timeout 10m -run 'TestDelegate' ./cmd/agent | "$cache/bin/testlog" -figures "$figures.delegate-faults" || failed=1
go test -run '^$' -bench Chain -count 3 ./delegates |
	awk '/^Benchmark/ {
		sub(/^Benchmark/, "", $1); sub(/-[0-9]+$/, "", $1); gsub(/[^A-Za-z0-9]+/, "_", $1)
		if (!($1 in best) || $3 < best[$1]) best[$1] = $3
	}
	END { for (name in best) print tolower(name) "_ns_per_op: " best[name] }' >"$figures.delegate-bench" || failed=1

printf '\n== figures\n'
cat "$figures.delegates" "$figures.delegate-faults" "$figures.delegate-bench"
exit $failed
