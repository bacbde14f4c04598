#!/usr/bin/env bash
# Fetches the pinned LiteRT runtime: libLiteRt.so out of PyPI's ai-edge-litert wheel, by pip, checked by
# sha256 (wheel and library), into build/cache/runtime/ARCH. Silent when it is there already.
#
#   build/runtime.sh [ARCH]

. "$(dirname "$0")/lib.sh"

version=2.3.0
arch=${1:-$(this_arch)}
case $arch in
amd64)
	platform=manylinux_2_27_x86_64
	wheel_sum=1f15078a6725d2357d9de9221664c29afa0545d807559c5f7199ce5e40b96b23
	library_sum=eec47eb35e2924b3166015887e652a58edc9af823ae38e02bf83bef2548300bb
	;;
arm64)
	platform=manylinux_2_27_aarch64
	wheel_sum=853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae
	library_sum=b57687dc234d2b8b0598aef5a9c961ed24263df8f8b3f56adbee1cff618e544b
	;;
*) die "LiteRT has no library for $arch; amd64 and arm64 it has" ;;
esac

out=$cache/runtime/$arch
library=$out/libLiteRt.so
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

say "fetching the LiteRT $version runtime for $arch"
retry download || die "LiteRT could not be fetched from PyPI: check the network and run 'make runtime' again"
wheel=$(echo "$work"/ai_edge_litert-*.whl)
has_sha256 "$wheel" "$wheel_sum" || die "$(basename "$wheel") is not the pinned file (sha256 $wheel_sum)"

python3 - "$wheel" "$work" <<'END'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    with wheel.open("ai_edge_litert/libLiteRt.so") as source, open(sys.argv[2] + "/libLiteRt.so", "wb") as target:
        shutil.copyfileobj(source, target)
END
has_sha256 "$work/libLiteRt.so" "$library_sum" || die "libLiteRt.so is not the pinned file (sha256 $library_sum)"

mkdir -p "$out"
install -m 0755 "$work/libLiteRt.so" "$library.new"
mv "$library.new" "$library"
