#!/usr/bin/env bash
# Compares the speed of the agent with the raw loops and with Python, in one run: sets up what that needs, builds the
# loops, hands over to bench.py, or to cameras.py. `make bench` and `make bench-cameras` call it, after building the
# binaries and with the settings of env.sh.
#
#   build/bench/run.sh [cameras] [OPTION...]     options: build/bench/run.sh [cameras] --help

. "$(dirname "$0")/../lib.sh"
cd "$root"

program=bench
if [ "${1:-}" = cameras ]; then
	program=cameras
	shift
	build/setup.sh cameras
fi
build/setup.sh bench

venv=$cache/venv-bench
build/venv.sh "$venv" build/bench/requirements.txt

# The loops without an agent are benchmarks beside the code that they time.
loops=$cache/bench
mkdir -p "$loops"
for package in internal/litert capture/opencv internal/worker; do
	go test -c -o "$loops/${package##*/}.test" "./$package"
done

export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" "build/bench/$program.py" --loops "$loops" "$@"
