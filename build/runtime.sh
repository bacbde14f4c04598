#!/usr/bin/env bash
# Fetches the pinned runtime libraries out of PyPI's ai-edge-litert wheels, by pip, checked by sha256 (wheel and
# library), into build/cache/runtime/ARCH. Silent when they are there already.
#
#   build/runtime.sh [ARCH [WHAT]]     WHAT: litert  libLiteRt.so, what every model runs on (the default)
#                                            gpu     gpu/libLiteRtWebGpuAccelerator.so, LiteRT's GPU accelerator
#                                            tflite  tflite/libLiteRt.so, an older one that has TFLite's C API too
#                                                    (for the Edge TPU and other plugins; arm64 only)

. "$(dirname "$0")/lib.sh"

arch=${1:-$(this_arch)}
what=${2:-litert}
version=$litert_version
name=libLiteRt.so
folder=
case $arch-$what in
amd64-litert)
	wheel_sum=1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23
	library_sum=eec47eb35e2924b3166015887e652a58edc9af823ae38e02bf83bef2548300bb
	;;
arm64-litert)
	wheel_sum=853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae
	library_sum=b57687dc234d2b8b0598aef5a9c961ed24263df8f8b3f56adbee1cff618e544b
	;;
amd64-gpu)
	wheel_sum=1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23
	library_sum=b67f193ae6eb8ad3a15349f54aba696c97d6f981c92bc2eb1096cbe9e2835b25
	name=libLiteRtWebGpuAccelerator.so folder=/gpu
	;;
arm64-gpu)
	wheel_sum=853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae
	library_sum=5f271fa4a36f9dd8d1f8514971b2e80f46bd92b1066509cdd9c0716723d6091a
	name=libLiteRtWebGpuAccelerator.so folder=/gpu
	;;
arm64-tflite)
	version=$tflite_version
	wheel_sum=92b24d2507fccf5680c26e712c156266dcf64a892df3921dd42f4a7d26527462
	library_sum=5851ef6be3be03ece706c00a5cc728a9e3450f352c56302254bfb4e8fa5d4f78
	folder=/tflite
	;;
amd64-tflite) die "no wheel for amd64 has TFLite's C API; bring a libtensorflowlite_c.so of your own" ;;
*-litert | *-gpu | *-tflite) die "LiteRT has no library for $arch; amd64 and arm64 it has" ;;
*) die "usage: runtime.sh [ARCH [litert|gpu|tflite]]" ;;
esac
case $arch in
amd64) platform=manylinux_2_27_x86_64 ;;
arm64) platform=manylinux_2_27_aarch64 ;;
esac

out=$cache/runtime/$arch$folder
library=$out/$name
if has_sha256 "$library" "$library_sum"; then
	exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: run 'make setup'"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The wheel is made for one Python version; we only take the library out, so any will do.
download() {
	python3 -m pip --quiet --disable-pip-version-check download --no-deps --only-binary=:all: \
		--python-version 3.11 --implementation cp --platform "$platform" \
		--dest "$work" "ai-edge-litert==$version"
}

say "fetching the LiteRT $version runtime for $arch ($what)"
retry download || die "LiteRT could not be fetched from PyPI: check the network and run 'make runtime' again"
wheel=$(echo "$work"/ai_edge_litert-*.whl)
has_sha256 "$wheel" "$wheel_sum" || die "$(basename "$wheel") is not the pinned file (sha256 $wheel_sum)"

python3 - "$wheel" "$work" "$name" <<'PYTHON'
import shutil, sys, zipfile
wheel, work, name = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    with z.open("ai_edge_litert/" + name) as source, open(work + "/" + name, "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
has_sha256 "$work/$name" "$library_sum" || die "$name is not the pinned file (sha256 $library_sum)"

mkdir -p "$out"
install -m 0755 "$work/$name" "$library.new"
mv "$library.new" "$library"
