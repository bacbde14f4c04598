#!/usr/bin/env bash
# The long tests of publishing: the real agent killed, cut off and without its broker over three seeds, a day offline,
# media that fail, consumers and brokers of other makers, fuzzing, benchmarks. The figures last.
#
#   build/test-publish.sh         all of it (an hour, of which 50 minutes are fuzzing; FUZZTIME=10m)
#   build/test-publish.sh soak    the agent killed again and again, SOAK_KILLS=200 times

. "$(dirname "$0")/lib.sh"

cd "$root"
export PATH=$PATH:/usr/sbin EDGE_AGENT_TEST_LONG=1
figures=$cache/figures
build/setup.sh publish
build/tools.sh toxiproxy-server >/dev/null
go build -o "$cache/bin/testlog" ./build/testlog
failed=0

# tests NAME ARG...: go test with the arguments; its figures go to the file of that name.
tests() {
	local name=$1
	shift
	go test -json -count=1 "$@" | "$cache/bin/testlog" -figures "$figures.$name" || failed=1
}

# fuzz TARGET PACKAGE [ARG...]: one fuzz test for FUZZTIME; what it found interesting stays in Go's cache.
fuzz() {
	local target=$1 package=$2 log
	shift 2
	log=$cache/fuzz-$target.log
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10m}" "$@" "$package" 2>&1 | tee "$log" || failed=1
	awk -v name="$(tr '[:upper:]' '[:lower:]' <<<"${target#Fuzz}")" '/execs:/ { execs = $5 } END { print "fuzz_" name "_execs: " execs + 0 }' "$log" >>"$figures.fuzz"
}

if [ "${1:-}" = soak ]; then
	export EDGE_AGENT_TEST_SOAK_KILLS=${SOAK_KILLS:-200}
	tests soak -timeout 0 -run '^TestCrash$' ./cmd/agent
	printf '\n== figures\n'
	cat "$figures.soak"
	exit $failed
fi

# What the tests of interoperation are run with; without it they tell what is missing.
build/tools.sh nats-server >/dev/null
build/npm.sh "$cache/npm-interop" build/interop || failed=1
build/venv.sh "$cache/venv-interop" build/interop/requirements.txt || failed=1

rm -f "$figures.fuzz"
tests publish -timeout 20m ./publish
tests publish-agent -timeout 20m -run '^Test(Crash|DropsOf|Consumers|Bridge|NATS|Secrets|Insecure|ReadOnly)' ./cmd/agent
rm -rf "$cache/eclipse-suite.new"
if [ -z "${EDGE_AGENT_ECLIPSE_SUITE:-}" ] && [ ! -d "$cache/eclipse-suite" ] && timeout 60 git clone --quiet --depth 1 https://github.com/eclipse/paho.mqtt.testing "$cache/eclipse-suite.new" 2>/dev/null; then
	mv "$cache/eclipse-suite.new" "$cache/eclipse-suite"
fi
[ ! -d "$cache/eclipse-suite" ] || export EDGE_AGENT_ECLIPSE_SUITE=${EDGE_AGENT_ECLIPSE_SUITE:-$cache/eclipse-suite}
tests publish-broker -timeout 20m ./publish/broker
fuzz FuzzQueueFile ./publish -fuzzminimizetime 5x
fuzz FuzzCommand ./publish
fuzz FuzzBroker ./publish
fuzz FuzzLoad ./internal/config
fuzz FuzzManifest ./infer
go test -run '^$' -bench 'Durable|Offer|Encode|Puback' ./publish |
	bench_figures >"$figures.bench" || failed=1

printf '\n== figures\n'
cat "$figures.publish" "$figures.publish-agent" "$figures.publish-broker" "$figures.fuzz" "$figures.bench"
exit $failed
