#!/usr/bin/env bash
# Makes the two files that Debian ships only inside libopencv-dev (349 packages): opencv4.pc and an
# opencv_modules.hpp that names just the four modules in use. They are found by pkg-config and before the
# packaged headers, so nothing of the system is written.
#
#   build/opencv.sh                  for the system's own packages, into build/cache/opencv/ARCH
#   build/opencv.sh ARCH SYSROOT OUT LIBRARIES
#                                    for headers below SYSROOT and the folder LIBRARIES, into OUT

. "$(dirname "$0")/lib.sh"

arch=${1:-$(this_arch)}
sysroot=${2:-}
triplet=$(gnu_triplet "$arch")
out=${3:-$cache/opencv/$arch}
libraries=${4:-/usr/lib/$triplet}
headers=$sysroot/usr/include/opencv4
version_header=$headers/opencv2/core/version.hpp

[ -f "$version_header" ] || die "OpenCV's headers are missing ($version_header): run 'make setup'"

version=$(sed -nE 's/^#define CV_VERSION_(MAJOR|MINOR|REVISION) +([0-9]+).*/\2/p' "$version_header" | paste -sd.)

# replace FILE: takes standard input, and touches FILE only when it differs, for Go's build cache looks at it.
replace() {
	mkdir -p "$(dirname "$1")"
	cat >"$1.new"
	if cmp -s "$1.new" "$1"; then
		rm "$1.new"
	else
		mv "$1.new" "$1"
	fi
}

replace "$out/include/opencv2/opencv_modules.hpp" <<END
// The OpenCV modules that edge-agent-capture is built with; made by build/opencv.sh.
#define HAVE_OPENCV_CORE
#define HAVE_OPENCV_IMGCODECS
#define HAVE_OPENCV_IMGPROC
#define HAVE_OPENCV_VIDEOIO
END

replace "$out/opencv4.pc" <<END
Name: OpenCV
Description: the four modules that edge-agent-capture uses
Version: $version
Libs: -L$libraries -lopencv_videoio -lopencv_imgcodecs -lopencv_imgproc -lopencv_core
Cflags: -I$out/include -I$headers -I$sysroot/usr/include/$triplet/opencv4
END
