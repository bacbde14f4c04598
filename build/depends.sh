#!/usr/bin/env bash
# Prints what the binaries of a package depend on, in Debian's words, read from the binaries themselves: each library
# that they are linked against, and for C and C++ the oldest version that has all the symbols asked for; at least those
# that dpkg-shlibdeps asks for (build/test-release.sh compares). A library that is not in the table stops the build, so
# that no dependency is forgotten.
#
#   build/depends.sh BINARY...

. "$(dirname "$0")/lib.sh"

[ $# -gt 0 ] || die "usage: depends.sh BINARY..."

# newest NAME BINARY...: the highest version of symbols called NAME_x.y that the binaries ask for.
newest() {
	local name=$1
	shift
	readelf --wide --version-info "$@" | grep -oE "\<${name}_[0-9.]+" | sed "s/^${name}_//" | sort -Vu | tail -n 1
}

# libstdcxx VERSION: the release of GCC that brought the symbols of that version.
libstdcxx() {
	case $1 in
	3.4.1[0-9] | 3.4.2[0-6]) echo 9 ;;
	3.4.27 | 3.4.28) echo 10 ;;
	3.4.29) echo 11 ;;
	3.4.30) echo 12 ;;
	*) die "no release of GCC is known for GLIBCXX_$1: add it to build/depends.sh" ;;
	esac
}

declare -A wanted=()
libraries=$(readelf --wide -d "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u)
for library in $libraries; do
	case $library in
	ld-linux-*.so.* | libc.so.6 | libm.so.6 | libdl.so.2 | libpthread.so.0 | librt.so.1 | libresolv.so.2)
		# Older symbols may have been in libpthread or libdl; since 2.34, which our own programs need, all are in libc.
		wanted[libc6]=$(printf '%s\n' 2.34 "$(newest GLIBC "$@")" | sort -V | tail -n 1)
		;;
	libstdc++.so.6) wanted[libstdc++6]=$(libstdcxx "$(newest GLIBCXX "$@")") ;;
	libgcc_s.so.1) wanted[libgcc-s1]=3.0 ;;
	libopencv_*.so.406 | libopencv_*.so.410)
		package=${library/.so./}
		case $library in
		*.406) wanted[${package/_/-}]=4.6.0+dfsg ;;
		*) wanted[${package/_/-}]=4.10.0+dfsg ;;
		esac
		;;
	libvulkan.so.1) wanted[libvulkan1]= ;;
	*) die "no package is known for $library, which $* need: add it to build/depends.sh" ;;
	esac
done

list=()
for package in "${!wanted[@]}"; do
	list+=("$package${wanted[$package]:+ (>= ${wanted[$package]})}")
done
printf '%s\n' "${list[@]}" | sort | paste -sd, | sed 's/,/, /g'
