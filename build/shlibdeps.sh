#!/usr/bin/env bash
# Holds what a package says it depends on against what dpkg-shlibdeps finds in its binaries, in a Debian of its suite and
# architecture: each library's package must be named, in a version not older than its symbols need.
#
#   build/shlibdeps.sh DEB...      needs root; the Debians are those of build/root.sh

. "$(dirname "$0")/lib.sh"
. "$root/build/root.sh"

[ $# -gt 0 ] || die "usage: shlibdeps.sh DEB..."
place=$(mktemp -d)
trap 'rm -rf --one-file-system "$place"' EXIT

# found TREE DEBIAN ARCH BINARY...: what dpkg-shlibdeps says, one dependency a line. This machine's own dpkg-shlibdeps
# reads the Debian's dpkg records and, laid over this machine's, its libraries: for another architecture they are in a
# folder of their own. For this architecture they would hide our own, so it runs in the Debian.
found() {
	local tree=$1 debian=$2 arch=$3
	shift 3
	mkdir -p "$tree/debian"
	printf 'Source: x\n\nPackage: x\nArchitecture: any\n' >"$tree/debian/control"
	if [ "$arch" != "$(this_arch)" ]; then
		unshare --mount env "DEB_HOST_ARCH=$arch" bash -euc '
			mount --make-rprivate /
			mount -t overlay -o "lowerdir=/usr/lib:$1/usr/lib" overlay /usr/lib
			cd "$2"
			admin=$1/var/lib/dpkg
			shift 2
			dpkg-shlibdeps "--admindir=$admin" --warnings=0 -O "$@"
		' shlibdeps "$debian" "$tree" "$@"
	else
		[ -x "$debian/usr/bin/dpkg-shlibdeps" ] || quietly in_root "$debian" "$arch" sh -c 'apt-get -qq update && apt-get -qq --yes --no-install-recommends install dpkg-dev' || return
		rm -rf "$debian/opt/tree"
		cp -r "$tree" "$debian/opt/tree"
		in_root "$debian" "$arch" sh -c 'cd /opt/tree && dpkg-shlibdeps --warnings=0 -O "$@"' shlibdeps "$@"
	fi | sed -n 's/^shlibs:Depends=//p' | tr ',' '\n' | sed 's/^ *//'
}

# met DEPENDENCY DEPENDS: whether DEPENDS, a package's own list, has the package, in that version or a newer one.
met() {
	local name=${1%% *} version own
	version=$(sed -n 's/.*(>= \(.*\))/\1/p' <<<"$1")
	own=$(tr ',' '\n' <<<"$2" | sed 's/^ *//' | grep -E "^${name//+/\\+}( |\$)") || return
	[ -n "$version" ] || return 0
	own=$(sed -n 's/.*(>= \(.*\))/\1/p' <<<"$own")
	[ -n "$own" ] && dpkg --compare-versions "$own" ge "$version"
}

failed=0
for deb in "$@"; do
	arch=$(dpkg-deb -f "$deb" Architecture) suite=bookworm number=406
	case $(basename "$deb") in edge-agent-capture-410_*) suite=trixie number=410 ;; esac
	debian=$place/$suite-$arch tree=$place/$(basename "$deb" .deb)
	if [ ! -d "$debian" ]; then
		# shellcheck disable=SC2046 # one word a package
		tar=$(root_archive "$suite" "$arch" $(opencv_packages "$number")) || die "the Debian could not be made"
		unpack_root "$tar" "$debian"
	fi
	dpkg-deb -x "$deb" "$tree"
	mapfile -t binaries < <(cd "$tree" && find usr/bin usr/lib -type f -exec sh -c 'head -c 4 "$1" | grep -q ELF' elf {} \; -print 2>/dev/null)
	[ ${#binaries[@]} -gt 0 ] || die "$deb holds no binary"
	found "$tree" "$debian" "$arch" "${binaries[@]}" >"$place/found" || die "dpkg-shlibdeps failed for $deb"
	[ -s "$place/found" ] || die "dpkg-shlibdeps found nothing in $deb"
	while read -r dependency; do
		if ! met "$dependency" "$(dpkg-deb -f "$deb" Depends)"; then
			say "$(basename "$deb") needs $dependency, and says $(dpkg-deb -f "$deb" Depends)"
			failed=1
		fi
	done <"$place/found"
	say "$(basename "$deb"): dpkg-shlibdeps says $(paste -sd, "$place/found" | sed 's/,/, /g')"
done
exit $failed
