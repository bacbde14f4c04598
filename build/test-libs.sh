#!/usr/bin/env bash
# Fetches the libraries that only tests need, checked by sha256, into build/cache. Silent when they are there.
#
#   build/test-libs.sh tflite        TFLite 2.9's C library, which takes TFLite plugins: out of npm's tfjs-tflite-node
#   build/test-libs.sh swiftshader   a Vulkan driver that needs no GPU (amd64): out of npm's @sparticuz/chromium

. "$(dirname "$0")/lib.sh"

arch=$(this_arch)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# fetch NAME VERSION SUM: an npm package into $work/package.tgz. npm itself is not needed.
fetch() {
	local file=${1##*/}-$2.tgz
	say "fetching $1 $2 for the tests"
	retry python3 - "${npm_config_registry:-https://registry.npmjs.org}" "$1/-/$file" "$work/package.tgz" <<'END' ||
import shutil, sys, urllib.request
with urllib.request.urlopen(sys.argv[1].rstrip("/") + "/" + sys.argv[2], timeout=60) as source, open(sys.argv[3], "wb") as target:
    shutil.copyfileobj(source, target)
END
		die "$1 could not be fetched from the npm registry: check the network, then run 'build/test-libs.sh' again"
	has_sha256 "$work/package.tgz" "$3" || die "$file is not the pinned file (sha256 $3)"
}

# put FILE: from $work into $out, in one step.
put() {
	mkdir -p "$out"
	install -m 0755 "$work/$1" "$out/${1##*/}.new"
	mv "$out/${1##*/}.new" "$out/${1##*/}"
}

tflite() {
	case $arch in
	amd64) sum=dc89b4cd86d956516570bd483668e6dd98907f49901d0567dedc69a29a56b7f7 ;;
	arm64) sum=ec0dee4fb3418e680d010248ac1e304d9656cc5c8de54caaf91d666712e2f633 ;;
	*) die "there is no TFLite library for $arch" ;;
	esac
	out=$cache/tflite/$arch
	library=libtensorflowlite_c.so
	has_sha256 "$out/$library" "$sum" && return
	fetch tfjs-tflite-node 0.0.2 3be1632328a76a2475e5b6833253763c802c859433becb4d879ee1860e3b5284
	tar -xzf "$work/package.tgz" -C "$work" "package/cc_deps/linux_$arch/$library"
	put "package/cc_deps/linux_$arch/$library"
	has_sha256 "$out/$library" "$sum" || die "$library is not the pinned file (sha256 $sum)"
}

swiftshader() {
	[ "$arch" = amd64 ] || die "SwiftShader comes for amd64 only"
	sum=2f3ceffaaca7d031bc3943f8eacf398a5d9c42c5fe0d15d8840b9acfa630b58e
	out=$cache/swiftshader/$arch
	library=libvk_swiftshader.so
	has_sha256 "$out/$library" "$sum" && [ -f "$out/vk_swiftshader_icd.json" ] && return
	command -v brotli >/dev/null || die "brotli is missing: run 'make setup'"
	fetch @sparticuz/chromium 153.0.0 20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0
	tar -xzf "$work/package.tgz" -C "$work" package/bin/swiftshader.tar.br
	brotli --decompress --stdout "$work/package/bin/swiftshader.tar.br" | tar -x -C "$work"
	put "$library"
	put vk_swiftshader_icd.json
	has_sha256 "$out/$library" "$sum" || die "$library is not the pinned file (sha256 $sum)"
}

for what in "${@:-tflite}"; do
	case $what in
	tflite | swiftshader) "$what" ;;
	*) die "usage: test-libs.sh [tflite] [swiftshader]" ;;
	esac
done
