#!/usr/bin/env bash
# The promise of the README, checked: in a minimal Debian 12 with git, make and Go and nothing else, `make run`
# shows classifications and stops cleanly, and `make test` passes. Needs root; leaves nothing behind.
#
# Only what leads to the package registries is taken from this machine: apt's sources and connection settings, the
# certificates, pip's settings, and the variables that programs read for those. What is checked is the last commit.
#
#   build/fresh-check.sh [run|test]...     default: both

. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || die "a chroot needs root: sudo make fresh-check"
"$root/build/setup.sh" fresh

goroot=$(GOTOOLCHAIN=local go env GOROOT)
place=$(mktemp -d)
debian=$place/debian
trap 'rm -rf --one-file-system "$place"' EXIT

# bring FILE: copies a file of this machine to the same place inside.
bring() {
	if [ -f "$1" ]; then
		install -D -m 0644 "$1" "$debian$1"
	fi
}

make_debian() {
	say "making a minimal Debian 12"
	local sources=() file
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
		if [ -s "$file" ] && grep -q '\<bookworm\>' "$file"; then
			sources+=("$file")
		fi
	done
	[ ${#sources[@]} -gt 0 ] || sources=("deb $(debian_mirror) bookworm main")
	apt-config dump |
		grep -E '^Acquire::[A-Za-z:]*(Proxy|Verify-Peer|CaInfo|Check-Valid-Until|Check-Date) "' >"$place/apt.conf" || true
	quietly mmdebstrap --quiet --variant=apt --include=git,make,ca-certificates \
		--aptopt="$place/apt.conf" bookworm "$debian" "${sources[@]}" || die "the chroot could not be made"
	for file in /etc/resolv.conf /etc/pip.conf /etc/ssl/certs/ca-certificates.crt \
		"${SSL_CERT_FILE:-}" "${CURL_CA_BUNDLE:-}" "${REQUESTS_CA_BUNDLE:-}" "${GIT_SSL_CAINFO:-}" "${PIP_CERT:-}"; do
		bring "$file"
	done
	mkdir -p "$debian/usr/local/go"
	quietly git clone --no-hardlinks "$root" "$debian/srv/edge-agent"
}

# inside COMMAND...: runs it in the clone, in the chroot, with processes and mounts that end with it.
inside() {
	local environment=(HOME=/srv LANG=C.UTF-8 CI=true
		PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin) variable
	for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY \
		SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE GIT_SSL_CAINFO \
		PIP_CERT PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT; do
		if [ -n "${!variable:-}" ]; then
			environment+=("$variable=${!variable}")
		fi
	done
	for variable in GOPROXY GOSUMDB GONOSUMDB GOPRIVATE; do
		environment+=("$variable=$(go env $variable)")
	done
	unshare --mount --pid --fork --kill-child bash -euc '
		debian=$1 goroot=$2
		shift 2
		mount -t proc proc "$debian/proc"
		mount --rbind /dev "$debian/dev"
		mount --rbind /sys "$debian/sys"
		mount -t tmpfs -o mode=1777 tmpfs "$debian/dev/shm"
		mount --bind "$goroot" "$debian/usr/local/go"
		exec chroot "$debian" env -i --chdir=/srv/edge-agent "$@"
	' fresh "$debian" "$goroot" "${environment[@]}" "$@"
}

[ $# -gt 0 ] || set -- run test
make_debian
figures=()
for step in "$@"; do
	say "== $step"
	since=$SECONDS
	inside build/fresh-inside.sh "$step" || die "fresh-check failed at: $step"
	figures+=("fresh_${step}_s: $((SECONDS - since))")
done
printf '%s\n' "${figures[@]}"
