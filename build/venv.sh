#!/usr/bin/env bash
# Makes a Python environment with the packages of a lock file; silent when it is there and as the lock wants it.
#
#   build/venv.sh FOLDER LOCK

. "$(dirname "$0")/lib.sh"
cd "$root"

venv=$1 lock=$2
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
