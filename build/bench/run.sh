#!/usr/bin/env bash
# Compares the speed of the agent with the raw loops and with Python, in one run: sets up what that needs, builds the
# loops, hands over to bench.py. `make bench` calls it, after building the binaries and with the settings of env.sh.
#
#   build/bench/run.sh [OPTION...]     options: build/bench/run.sh --help

. "$(dirname "$0")/../lib.sh"
cd "$root"

build/setup.sh bench

venv=$cache/venv-bench
lock=build/bench/requirements.txt
python=${PYTHON:-python3}

# The copy of the lock is laid down last, so an environment that is broken or outdated is made anew.
if ! cmp -s "$lock" "$venv/.lock"; then
	say "installing the Python packages of $lock"
	rm -rf "$venv"
	"$python" -m venv "$venv" || die "no virtual environment could be made: apt-get install python3-venv"
	retry "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: -r "$lock" ||
		die "the packages of $lock could not be installed: check the network and try again"
	cp "$lock" "$venv/.lock"
fi

# The loops without an agent are benchmarks beside the code that they time.
loops=$cache/bench
mkdir -p "$loops"
for package in internal/litert capture/opencv internal/worker; do
	go test -c -o "$loops/${package##*/}.test" "./$package"
done

export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" build/bench/bench.py --loops "$loops" "$@"
