#!/usr/bin/env bash
# The long tests of publishing: kills, cuts and restarts over three seeds against a real Mosquitto too, a day
# offline, the fuzzing of the queue's file, of commands and of the config, the benchmarks. The figures last.

. "$(dirname "$0")/lib.sh"

cd "$root"
export PATH=$PATH:/usr/sbin EDGE_AGENT_TEST_LONG=1
figures=$cache/figures
go build -o "$cache/bin/testlog" ./build/testlog

failed=0
go test -json -count=1 -timeout 20m ./publish | "$cache/bin/testlog" -figures "$figures.publish" || failed=1
go test -run '^$' -fuzz FuzzQueueFile -fuzztime "${FUZZTIME:-10m}" -fuzzminimizetime 5x ./publish || failed=1
go test -run '^$' -fuzz FuzzCommand -fuzztime "${FUZZTIME:-10m}" ./publish || failed=1
go test -run '^$' -fuzz FuzzLoad -fuzztime "${FUZZTIME:-10m}" ./internal/config || failed=1
go test -run '^$' -bench 'Durable|Offer' ./publish |
	awk '/^Benchmark/ {
		sub(/^Benchmark/, "", $1); sub(/-[0-9]+$/, "", $1); gsub(/[^A-Za-z0-9]+/, "_", $1)
		for (i = 3; i < NF; i += 2) { unit = $(i + 1); gsub(/\//, "_per_", unit); print tolower($1 "_" unit) ": " $i }
	}' >"$figures.bench" || failed=1

printf '\n== figures\n'
cat "$figures.publish" "$figures.bench"
exit $failed
