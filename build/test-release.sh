#!/usr/bin/env bash
# Checks what `make release` made: lintian, the SBOMs against CycloneDX's schema, checksums and signatures, sizes, the
# dependencies against dpkg-shlibdeps, and that the same commit, built in another folder with empty caches, gives the same
# bytes. The figures last.
#
#   build/test-release.sh FOLDER [CHECK...]     CHECK: lintian sbom signed sizes dependencies reproducible; default: all

. "$(dirname "$0")/lib.sh"

folder=${1:?usage: test-release.sh FOLDER [CHECK...]}
folder=$(cd "$folder" && pwd)
shift
[ $# -gt 0 ] || set -- lintian sbom signed sizes dependencies reproducible
cd "$root"
place=$(mktemp -d)
trap 'rm -rf --one-file-system "$place"' EXIT
figures=()
failed=0
name=release

# Each tag that lintian has is a fault: those that are not are in build/deb/*.lintian, with the reason. One file does for
# several packages and architectures, and bytes look like a word in one build only: that a line is not used is no fault.
lintian() {
	local deb
	for deb in "$folder"/*.deb; do
		ok "lintian: $(basename "$deb")" no_tags "$deb"
	done
}

no_tags() {
	local tags
	tags=$(command lintian --allow-root --no-cfg --display-info --pedantic --fail-on none "$1") || return
	! grep -E '^[A-Z]: ' <<<"$tags" | grep -vE '^(N: |I: [^ ]* unused-override )'
}

# unpack ARCH: all packages of an architecture, unpacked into one folder; prints it. (tflite's libLiteRt.so has a folder of
# its own, as on a board.)
unpack() {
	local to=$place/unpacked/$1 deb
	if [ ! -d "$to" ]; then
		mkdir -p "$to"
		for deb in "$folder"/*_"$1.deb" "$folder"/*_all.deb; do
			case $(basename "$deb") in
			edge-agent-capture-410_*) ;; # 406's place
			*) dpkg-deb -x "$deb" "$to" ;;
			esac
		done
	fi
	echo "$to"
}

# The schemas come from a package that carries them; nothing of it runs.
sbom() {
	local wheel=cyclonedx_python_lib-11.12.0-py3-none-any.whl file arch tree
	if ! has_sha256 "$cache/sbom/$wheel" 0e807521a921a5c3cb8ce1153f8a61d29eedfe76a46aac2796b7c6b573391a54; then
		quietly retry python3 -m pip --quiet --disable-pip-version-check download --no-deps --only-binary=:all: --dest "$cache/sbom" cyclonedx-python-lib==11.12.0
		has_sha256 "$cache/sbom/$wheel" 0e807521a921a5c3cb8ce1153f8a61d29eedfe76a46aac2796b7c6b573391a54 || die "$wheel is not the pinned file"
	fi
	(. build/env.sh && go build -o "$place/sbomcheck" ./build/sbomcheck)
	for file in "$folder"/*.cdx.json; do
		arch=$(basename "$file" .cdx.json)
		tree=$(unpack "${arch##*_}")
		ok "SBOM: $(basename "$file")" "$place/sbomcheck" "$cache/sbom/$wheel" "$file" "$tree"
		ok "SBOM: its modules are all for ${arch##*_}" [ "$(grep -o 'goarch=[a-z0-9]*' "$file" | sort -u)" = "goarch=${arch##*_}" ]
		figures+=("sbom_${arch##*_}_components: $(grep -c '"bom-ref"' "$file")")
		# That the check can fail: another version of a module, a component without a type, another runtime.
		sed '/"bom-ref": "pkg:golang/,/"version"/ s/"version": "v/&7/' "$file" >"$place/version.json"
		sed '0,/"type": "library"/ s//"tipe": "library"/' "$file" >"$place/type.json"
		sed '/"bom-ref": "file:/,/"content"/ s/"content": "..../"content": "0000/' "$file" >"$place/sum.json"
		ok "SBOM: refused with a wrong version" refuses 'is no component' "$place/sbomcheck" "$cache/sbom/$wheel" "$place/version.json" "$tree"
		ok "SBOM: refused with a wrong type" refuses 'tipe' "$place/sbomcheck" "$cache/sbom/$wheel" "$place/type.json" "$tree"
		ok "SBOM: refused with a wrong sum" refuses 'no file in the packages has' "$place/sbomcheck" "$cache/sbom/$wheel" "$place/sum.json" "$tree"
	done
}

not() { ! "$@" >/dev/null 2>&1; }

# refuses WHY COMMAND...: whether it fails, and for that reason.
refuses() {
	local why=$1 output
	shift
	! output=$("$@" 2>&1) && grep -q -- "$why" <<<"$output" || { echo "$output"; return 1; }
}

signed() {
	local verify=(gpgv --quiet --keyring "$folder/edge-agent.gpg")
	ok "InRelease is signed" "${verify[@]}" "$folder/InRelease"
	ok "Release is signed" "${verify[@]}" "$folder/Release.gpg" "$folder/Release"
	ok "SHA256SUMS is signed" "${verify[@]}" "$folder/SHA256SUMS.asc" "$folder/SHA256SUMS"
	ok "SHA256SUMS fits" bash -c 'cd "$1" && sha256sum --quiet --strict --check SHA256SUMS' sums "$folder"
	ok "SHA256SUMS names every package and SBOM" [ "$(wc -l <"$folder/SHA256SUMS")" = "$(find "$folder" -name '*.deb' -o -name '*.cdx.json' | wc -l)" ]
	sed 's/^Date:/Dote:/' "$folder/Release" >"$place/Release"
	ok "a changed Release is refused" not "${verify[@]}" "$folder/Release.gpg" "$place/Release"
}

# An agent without runtime, model and clip has 10 MB at most.
sizes() {
	local deb package size
	for deb in "$folder"/*.deb; do
		package=$(dpkg-deb -f "$deb" Package)_$(dpkg-deb -f "$deb" Architecture)
		size=$(stat -c %s "$deb")
		figures+=("deb_${package//-/_}_bytes: $size")
		case $package in
		edge-agent_*) ok "the package $package has $size bytes, at most 10,000,000" [ "$size" -le 10000000 ] ;;
		esac
	done
}

# dependencies: what dpkg-shlibdeps finds in a package's binaries must be met by what the package says, in the suite that
# it is for. One that says too little is refused.
dependencies() {
	local deb debs=()
	for deb in "$folder"/*.deb; do
		case $(basename "$deb") in
		edge-agent-data_*) ;;
		*) debs+=("$deb") ;;
		esac
	done
	ok "dependencies of ${#debs[@]} packages are what dpkg-shlibdeps finds" build/shlibdeps.sh "${debs[@]}"
	deb=$(find "$folder" -name "edge-agent-capture-406_*_$(this_arch).deb")
	dpkg-deb -R "$deb" "$place/less"
	sed -i 's/libopencv-imgproc406 ([^)]*), //; s/\(libstdc++6 (>= \)[0-9]*/\15/' "$place/less/DEBIAN/control"
	quietly dpkg-deb -b "$place/less" "$place/less.deb"
	ok "one that says too little is refused" refuses 'needs libopencv-imgproc406' build/shlibdeps.sh "$place/less.deb"
}

# reproducible: a clone of the commit, in another folder, without any cache of Go's compiler; downloads are taken over.
reproducible() {
	local copy=$place/somewhere/else deb file same=0 arch
	mkdir -p "$(dirname "$copy")"
	quietly git clone --no-hardlinks "$root" "$copy"
	mkdir -p "$copy/build/cache"
	cp -r "$cache/debs" "$cache/runtime" "$cache/bin" "$copy/build/cache/"
	for arch in $(find "$folder" -name 'edge-agent_*.deb' -exec dpkg-deb -f {} Architecture \;); do
		# The umask and the time zone are not the first one's either.
		(
			umask 077
			ok "built once more for $arch" env GOCACHE="$place/gocache" TZ=Asia/Tokyo LC_ALL=C "$copy/build/deb.sh" "$copy/debs" "$arch"
			exit $failed
		) || failed=1
	done
	for deb in "$folder"/*.deb; do
		file=$(basename "$deb")
		ok "the same bytes: $file" cmp "$deb" "$copy/debs/$file"
		! cmp -s "$deb" "$copy/debs/$file" || same=$((same + 1))
	done
	figures+=("release_reproduced_packages: $same of $(find "$folder" -name '*.deb' | wc -l)")
}

for check in "$@"; do
	"$check"
done
printf '\n== figures\n'
printf '%s\n' "${figures[@]}"
exit $failed
