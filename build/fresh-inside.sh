#!/usr/bin/env bash
# The part of `make fresh-check` that runs in the fresh Debian, in the clone.
#
#   build/fresh-inside.sh run|test

set -euo pipefail

# child_of PID: its first child process, by /proc alone: a minimal Debian has no ps.
child_of() {
	local status pid parent
	for status in /proc/[0-9]*/status; do
		pid=${status//[^0-9]/}
		parent=$(sed -n 's/^PPid:\t//p' "$status" 2>/dev/null) || continue
		if [ "$parent" = "$1" ]; then
			echo "$pid"
			return 0
		fi
	done
	return 1
}

# run: `make run` until ten seconds after its first classification, then Ctrl-C.
run() {
	local log=/tmp/make-run.log job agent status=0 since=$SECONDS
	make run >$log 2>&1 &
	job=$!
	until grep -sq "$classified" $log; do
		if ! kill -0 $job 2>/dev/null || [ $((SECONDS - since)) -gt 1200 ]; then
			cat $log
			echo "make run showed no classification"
			return 1
		fi
		sleep 1
	done
	echo "first classification $((SECONDS - since)) s after 'make run'"
	sleep 10
	agent=$(child_of $job)
	kill -INT "$agent"
	wait $job || status=$?
	grep -v '^go: downloading' $log | head -n 30
	echo "… $(grep -c "$classified" $log) classifications"
	if [ $status != 0 ]; then
		tail -n 20 $log
		echo "make run ended with $status"
		return 1
	fi
}

# A scene's label, as the terminal shows it: the demo clip begins with a cup of coffee.
classified=espresso

case ${1:-} in
run) run ;;
test) make test ;;
*) echo "usage: fresh-inside.sh run|test" >&2 && exit 64 ;;
esac
