# What the scripts that run inside a boot share: checks, waiting, what systemd and the broker say of the agent.
# Sourced by them, never run.

set -u
config=/etc/edge-agent/config.yaml
agent=edge-agent.service
failed=0

say() { printf '%s\n' "$*"; }
figure() { say "figure: $1: $2"; }
fail() {
	say "✗ $*"
	failed=1
}

# ok WHAT COMMAND...: one check.
ok() {
	local what=$1
	shift
	if "$@"; then say "✓ $what"; else fail "$what"; fi
}

# await SECONDS COMMAND...: until it succeeds.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

show() { systemctl show -P "$1" $agent; }
not() { ! "$@"; }
into() { "${@:2}" >"$1"; }
active() { [ "$(show ActiveState)" = active ]; }
is() { [ "$(show "$1")" = "$2" ]; }
status_says() { show StatusText | grep -qE "$1"; }
logged() { grep -qF "$1" /opt/boot/agent.log; }
message() { mosquitto_sub -h 127.0.0.1 -C 1 -W "${2:-60}" -t "$1" 2>/dev/null; }
main() { show MainPID; }
micros() { awk '{ printf "%.0f", $1 * 1000000 }' /proc/uptime; }

# worker KIND: the pid of the worker, by what it was started as.
worker() {
	local dir
	for dir in /proc/[0-9]*; do
		case $(tr '\0' ' ' 2>/dev/null <"$dir/cmdline") in
		"edge-agent-worker infer "*) [ "$1" = infer ] && echo "${dir#/proc/}" && return ;;
		"edge-agent-worker "*) [ "$1" = capture ] && echo "${dir#/proc/}" && return ;;
		esac
	done
	return 1
}
worker_count() { cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -c '^edge-agent-worker$'; }
replaced() { local now; now=$(worker "$1") && [ "$now" != "$2" ]; }
results() { message "edge/+/camera/+/model/+/result" >/dev/null; }
