#!/usr/bin/env bash
# Builds the release binaries for one architecture into build/out/ARCH, on either, without installing anything
# foreign: OpenCV's headers and libraries come out of eight packages of that architecture, unpacked under
# build/cache. What those libraries need in turn is found on the board, hence --allow-shlib-undefined.
#
#   build/release.sh ARCH [OPENCV]     OPENCV: 406 as in Debian 12, 410 as in Debian 13

. "$(dirname "$0")/env.sh"

arch=${1:?usage: release.sh ARCH [OPENCV]}
opencv=${2:-406}
triplet=$(gnu_triplet "$arch")
case $opencv in
406) suite=bookworm ;;
410) suite=trixie ;;
*) die "OPENCV=$opencv is not known; 406 (Debian 12) and 410 (Debian 13) are" ;;
esac

place=$cache/debs/$arch-opencv$opencv
sysroot=$place/root
out=$root/build/out/$arch

# unpack_packages: the eight packages into $sysroot, by private lists; apt's and dpkg's state stay as they are.
unpack_packages() {
	local apt="$place/apt" packages=() module deb
	rm -rf "$place"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$place/debs" "$place/unpacking"
	local options=(-qq -o Acquire::Retries=3 -o APT::Sandbox::User=root
		-o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
		-o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Dir::State::status=/dev/null)
	if [ "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" != "$suite" ]; then
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main" >"$apt/sources.list"
		options+=(-o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null)
	fi
	for module in core imgproc imgcodecs videoio; do
		packages+=("libopencv-$module-dev" "libopencv-$module$opencv")
	done
	say "fetching OpenCV's packages of $suite for $arch"
	retry apt-get "${options[@]}" update || die "the package lists for $arch could not be fetched"
	(cd "$place/debs" && retry apt-get "${options[@]}" download "${packages[@]}") ||
		die "OpenCV's packages for $arch could not be fetched"
	for deb in "$place"/debs/*.deb; do
		dpkg-deb -x "$deb" "$place/unpacking"
	done
	rm -rf "$apt" "$place/debs"
	mv "$place/unpacking" "$sysroot"
}

[ -d "$sysroot" ] || unpack_packages
"$root/build/opencv.sh" "$arch" "$sysroot"
"$root/build/runtime.sh" "$arch"

export GOOS=linux GOARCH=$arch
export PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR=$place/overlay
# The folder is in opencv4.pc too, but Go's build cache does not look there (see env.sh).
export CGO_CPPFLAGS='' CGO_LDFLAGS="-L$sysroot/usr/lib/$triplet -Wl,--allow-shlib-undefined"
tools=
if [ "$arch" != "$(this_arch)" ]; then
	tools=$triplet-
	command -v "${tools}g++" >/dev/null || die "${tools}g++ is missing: run 'make setup', or apt-get install g++-${triplet//_/-}"
	export CC=${tools}gcc CXX=${tools}g++
fi
"$root/build/build.sh" "$out" "-s -w -buildid="

# The agent must start on a board without OpenCV, and both on the oldest glibc that is promised (docs: 2.34).
for binary in edge-agent edge-agent-capture; do
	newest=$("${tools}readelf" --version-info "$out/$binary" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
	if [ "$(printf '%s\n' GLIBC_2.34 "$newest" | sort -V | tail -n 1)" != GLIBC_2.34 ]; then
		die "$binary for $arch needs $newest; boards have 2.34"
	fi
done
# needs BINARY LIBRARY: whether it is linked against it.
needs() {
	"${tools}readelf" -d "$out/$1" | grep -q "NEEDED.*\[$2"
}
if needs edge-agent '.*\(opencv\|LiteRt\|stdc++\)'; then
	die "edge-agent for $arch is linked against a library that only workers may load"
fi
needs edge-agent-capture "libopencv_core.so.$opencv" || die "edge-agent-capture for $arch is not linked against OpenCV $opencv"
