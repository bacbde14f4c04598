#!/usr/bin/env bash
# Builds the release binaries for one architecture into build/out/ARCH, on either, without installing anything
# foreign: OpenCV's headers and libraries come out of eight packages of that architecture, unpacked under
# build/cache. What those libraries need in turn is found on the board, hence --allow-shlib-undefined.
#
#   build/release.sh ARCH [OPENCV [OUT]]     OPENCV: 406 as in Debian 12, 410 as in Debian 13
#
# OPENCV_ROOT=FOLDER takes OpenCV from a folder copied from a board instead: usr/include/opencv4 and the libraries
# beside it (usr/lib/TRIPLET or usr/lib) of the four modules core, imgproc, imgcodecs and videoio.
#
# The same commit gives the same bytes, wherever it is built (build/test-release.sh builds it twice): -trimpath, and no
# folder's name in what the C++ compiler makes.

. "$(dirname "$0")/env.sh"

arch=${1:?usage: release.sh ARCH [OPENCV [OUT]]}
opencv=${2:-406}
out=${3:-$root/build/out/$arch}
triplet=$(gnu_triplet "$arch")
case $opencv in
406) suite=bookworm ;;
410) suite=trixie ;;
*) die "OPENCV=$opencv is not known; 406 (Debian 12) and 410 (Debian 13) are, and OPENCV_ROOT=FOLDER takes any" ;;
esac

tools=
if [ "$arch" != "$(this_arch)" ]; then
	tools=$triplet-
	command -v "${tools}g++" >/dev/null || die "${tools}g++ is missing: run 'make setup', or apt-get install g++-${triplet//_/-}"
	export CC=${tools}gcc CXX=${tools}g++
fi

place=$cache/debs/$arch-opencv$opencv
sysroot=$place/root
libraries=$sysroot/usr/lib/$triplet

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

# copied_root: takes OPENCV_ROOT as it is, and looks there for what is needed; nothing is written into it.
copied_root() {
	sysroot=$(cd "$OPENCV_ROOT" 2>/dev/null && pwd) || die "OPENCV_ROOT=$OPENCV_ROOT: there is no such folder"
	place=$cache/debs/$arch-copied
	local module
	for libraries in "$sysroot/usr/lib/$triplet" "$sysroot/usr/lib" ''; do
		if [ -e "$libraries/libopencv_core.so" ]; then
			break
		fi
	done
	for module in core imgproc imgcodecs videoio; do
		[ -e "$libraries/libopencv_$module.so" ] ||
			die "OPENCV_ROOT=$OPENCV_ROOT has no libopencv_$module.so in usr/lib/$triplet or usr/lib: copy it and what it links to"
		[ -d "$sysroot/usr/include/opencv4/opencv2/$module" ] ||
			die "OPENCV_ROOT=$OPENCV_ROOT has no usr/include/opencv4/opencv2/$module: copy the headers of that module"
	done
	opencv=$("${tools}readelf" -d "$libraries/libopencv_core.so" 2>/dev/null | sed -n 's/.*SONAME.*\[libopencv_core\.so\.\(.*\)\]/\1/p')
	[ -n "$opencv" ] || die "OPENCV_ROOT=$OPENCV_ROOT: libopencv_core.so is no library for $arch"
}

if [ -n "${OPENCV_ROOT:-}" ]; then
	copied_root
elif [ ! -d "$sysroot" ]; then
	unpack_packages
fi
"$root/build/opencv.sh" "$arch" "$sysroot" "$place/overlay" "$libraries"
"$root/build/runtime.sh" "$arch"

export GOOS=linux GOARCH=$arch
export PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR=$place/overlay
# The folder is in opencv4.pc too, but Go's build cache does not look there (see env.sh).
export CGO_LDFLAGS="-L$libraries -Wl,--allow-shlib-undefined -Wl,-z,relro,-z,now"
# OpenCV's headers name themselves in their messages: by a name that is the same everywhere.
export CGO_CPPFLAGS="-ffile-prefix-map=$root=/edge-agent -ffile-prefix-map=$sysroot="
# Hardened as Debian's own programs are: these parse what strangers send.
export CGO_CFLAGS="-O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2" CGO_CXXFLAGS="-O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2"
export GOFLAGS="$GOFLAGS -buildmode=pie"
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
