# Debian roots for the tests of the packages: made by mmdebstrap, entered in namespaces of their own.
# Sourced, never run; after lib.sh. Needs root.

# apt_settings FILE: what this machine's apt needs to reach its registries.
apt_settings() {
	apt-config dump |
		grep -E '^Acquire::[A-Za-z:]*(Proxy|Verify-Peer|CaInfo|Check-Valid-Until|Check-Date) "' >"$1" || true
}

# binfmt: a script's lines that let the kernel run arm64 programs by $qemu, as long as anybody has binfmt_misc mounted:
# all of this machine share it, so an entry may be there already.
binfmt='
	if [ -n "$qemu" ]; then
		mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
		name=edge-agent-$(echo "$qemu" | cksum | cut -d" " -f1)
		entry=":$name:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:$qemu:FOCP"
		printf "%s" "$entry" >/proc/sys/fs/binfmt_misc/register || [ -e "/proc/sys/fs/binfmt_misc/$name" ]
	fi
'

# emulator ARCH: the path of qemu where ARCH needs it, else nothing.
emulator() {
	if [ "$1" != "$(this_arch)" ]; then
		"$root/build/qemu.sh"
	fi
}

# emulation_obstacle ARCH: why programs of ARCH cannot run here, in words; nothing where they can.
emulation_obstacle() {
	if [ "$1" = "$(this_arch)" ]; then
		return
	elif [ "$1" != arm64 ]; then
		echo "there is no emulator for $1 here"
	elif ! unshare --mount sh -c 'mount --make-rprivate / && mount -t binfmt_misc none /proc/sys/fs/binfmt_misc' 2>/dev/null; then
		echo "this machine does not let binfmt_misc be mounted"
	fi
}

# unpack_here: a hook of mmdebstrap for a root of another architecture. The emulator would need a quarter of an hour to
# unpack what OpenCV wants: this machine's own dpkg does it, and only the packages' scripts are emulated. It takes the
# packages for foreign ones, hence the two kinds of --force; dpkg inside sees them as its own.
unpack_here='
	export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
	apt-get -qq --yes --no-install-recommends --download-only -o DPkg::Chroot-Directory="$1" install $wanted
	dpkg --root="$1" --force-depends --force-architecture --unpack "$1"/var/cache/apt/archives/*.deb
	chroot "$1" dpkg --configure -a
	chroot "$1" apt-get -qq check
'

# root_archive SUITE ARCH PACKAGE...: prints the path of a tar of a minimal Debian with these packages. It is kept in
# build/cache/roots.
root_archive() {
	local suite=$1 arch=$2 sum tar place status=0 how
	shift 2
	sum=$(printf '%s ' "$suite" "$arch" "$@" | sha256sum | cut -c1-8)
	tar=$cache/roots/$suite-$arch-$sum.tar
	if [ ! -f "$tar" ]; then
		say "making a Debian $suite for $arch"
		mkdir -p "$cache/roots"
		place=$(mktemp -d)
		apt_settings "$place/apt.conf"
		if [ "$arch" = "$(this_arch)" ]; then
			how=(--include="$(printf '%s,' ca-certificates "$@" | sed 's/,$//')")
		else
			how=(--customize-hook="$unpack_here")
		fi
		quietly unshare --mount env "qemu=$(emulator "$arch")" "wanted=ca-certificates $*" bash -euc "$binfmt"'
			exec mmdebstrap --quiet --skip=check/qemu --variant=apt "$@"
		' root --architectures="$arch" --aptopt="$place/apt.conf" "${how[@]}" \
			"$suite" "$tar.new.tar" "deb $(debian_mirror) $suite main" || status=1
		rm -rf "$place"
		if [ $status != 0 ]; then
			rm -f "$tar.new.tar"
			return 1
		fi
		mv "$tar.new.tar" "$tar"
	fi
	echo "$tar"
}

# unpack_root TAR FOLDER: a root as new; with what apt needs to reach its registries.
unpack_root() {
	mkdir -p "$2"
	tar -C "$2" --numeric-owner -xf "$1"
	apt_settings "$2/etc/apt/apt.conf.d/99-test"
	local file
	for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt "${SSL_CERT_FILE:-}" "${CURL_CA_BUNDLE:-}"; do
		if [ -f "$file" ]; then
			install -D -m 0644 "$file" "$2$file"
		fi
	done
	printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
	chmod 0755 "$2/usr/sbin/policy-rc.d"
}

# in_root ROOT ARCH COMMAND...: runs it there, with processes and mounts that end with it. With interpreter=PROGRAM it is
# that one that the kernel starts for programs of another architecture, in a user namespace of its own, whose binfmt_misc
# nobody else sees (Linux 6.7).
in_root() {
	local place=$1 arch=$2 environment=(HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin) variable
	shift 2
	for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE CURL_CA_BUNDLE; do
		if [ -n "${!variable:-}" ]; then
			environment+=("$variable=${!variable}")
		fi
	done
	# shellcheck disable=SC2046 # two words
	unshare $([ -z "${interpreter:-}" ] || echo --user --map-root-user) --mount --pid --ipc --uts --fork --kill-child \
		env "qemu=${interpreter:-$(emulator "$arch")}" bash -euc '
		mount --make-rprivate /
		'"$binfmt"'
		place=$1
		shift
		mount -t proc proc "$place/proc"
		mount --rbind /dev "$place/dev"
		mount --rbind /sys "$place/sys"
		mount -t tmpfs -o mode=1777 tmpfs "$place/dev/shm"
		exec chroot "$place" env -i --chdir=/ "$@"
	' root "$place" "${environment[@]}" "$@"
}

# opencv_packages NUMBER: OpenCV's libraries of that version, which the roots have from the start, so that only our
# packages are measured.
opencv_packages() {
	local module
	for module in core imgproc imgcodecs videoio; do
		echo "libopencv-$module$1"
	done
}

# installed_root: what the root of an installation on Debian 12 has from the start: that, what the packages depend on
# besides, a systemd that boots, and something that reads MQTT.
# shellcheck disable=SC2207 # one word a package
installed_root=($(opencv_packages 406) procps systemd-sysv dbus mosquitto-clients libvulkan1)
