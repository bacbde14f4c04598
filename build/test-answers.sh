#!/usr/bin/env bash
# All that shows how far answers can be trusted: decoders against plain Python, average precision against
# pycocotools, real models through run and classify, evaluations with perturbations, and what decoding costs. The
# figures last. `make test` has all of it but the perturbations and the benchmarks.

. "$(dirname "$0")/lib.sh"

cd "$root"
export PATH=$PATH:/usr/sbin EDGE_AGENT_TEST_LONG=1
figures=$cache/figures
mkdir -p "$cache"
go build -o "$cache/bin/testlog" ./build/testlog

failed=0
go test -json -count=1 -timeout 10m ./infer ./infer/eval | "$cache/bin/testlog" -figures "$figures.answers" || failed=1
go test -json -count=1 -timeout 20m -run 'Python|Known|Tasks|References|Eval' ./cmd/agent |
	"$cache/bin/testlog" -figures "$figures.answers-road" || failed=1
go test -run '^$' -bench Boxes ./infer |
	awk '/^Benchmark/ {
		sub(/^Benchmark/, "", $1); sub(/-[0-9]+$/, "", $1); gsub(/[^A-Za-z0-9]+/, "_", $1)
		for (i = 3; i < NF; i += 2) { unit = $(i + 1); gsub(/\//, "_per_", unit); print tolower($1 "_" unit) ": " $i }
	}' >"$figures.answers-bench" || failed=1

printf '\n== figures\n'
cat "$figures.answers" "$figures.answers-road" "$figures.answers-bench"
exit $failed
