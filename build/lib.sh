# What the scripts of build/ share: speaking, retrying, checking sums. Sourced, never run.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/build/cache

# The pinned runtime: LiteRT, and its last version that has TFLite's C API as well.
litert_version=2.3.0
tflite_version=2.1.0

say() { printf '%s\n' "$*" >&2; }

# die TEXT...: one line that says what to do, and a failing exit.
die() {
	say "error: $*"
	exit 1
}

# retry COMMAND...: up to three times, as registries and their proxies do falter.
retry() {
	local attempt
	for attempt in 1 2 3; do
		if "$@"; then
			return 0
		fi
		if [ "$attempt" -lt 3 ]; then
			say "failed ($*); again in $((attempt * 5)) s"
			sleep $((attempt * 5))
		fi
	done
	return 1
}

# quietly COMMAND...: shows its output only when it fails.
quietly() {
	local output
	if ! output=$("$@" 2>&1); then
		say "$output"
		return 1
	fi
}

# has_sha256 FILE SUM: whether FILE is there and has that sum.
has_sha256() {
	[ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]
}

# this_arch: Debian's name of the architecture that we run on.
this_arch() {
	if command -v dpkg >/dev/null; then
		dpkg --print-architecture
	else
		case $(uname -m) in
		x86_64) echo amd64 ;;
		aarch64) echo arm64 ;;
		*) uname -m ;;
		esac
	fi
}

# gnu_triplet ARCH: the name in library folders and cross compilers.
gnu_triplet() {
	case $1 in
	amd64) echo x86_64-linux-gnu ;;
	arm64) echo aarch64-linux-gnu ;;
	*) die "architecture $1 is not supported; amd64 and arm64 are" ;;
	esac
}

# debian_mirror: where this machine's apt gets its packages.
debian_mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1
}

# bench_figures: what `go test -bench` writes, as `name: value`.
bench_figures() {
	awk '/^Benchmark/ {
		sub(/^Benchmark/, "", $1); sub(/-[0-9]+$/, "", $1); gsub(/[^A-Za-z0-9]+/, "_", $1)
		for (i = 3; i < NF; i += 2) { unit = $(i + 1); gsub(/\//, "_per_", unit); gsub(/µ/, "u", unit); gsub(/-/, "_", unit); print tolower($1 "_" unit) ": " $i }
	}'
}

# ok WHAT COMMAND...: one check of the script's $name; what the command writes is shown when it fails, and $failed is 1 then.
ok() {
	local what=$1
	shift
	if quietly "$@"; then
		say "✓ $name: $what"
	else
		say "✗ $name: $what"
		failed=1
	fi
}
