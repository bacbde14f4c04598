#!/usr/bin/env bash
# Makes the Debian packages of one architecture, by nfpm, from build/deb/*.yaml. The binaries are built first by
# build/release.sh; all that a package holds besides is staged in build/out/stage.
#
#   build/deb.sh OUT ARCH [PACKAGE...]
#     PACKAGE: edge-agent, edge-agent-capture-406, edge-agent-capture-410, edge-agent-data, edge-agent-runtime,
#     edge-agent-runtime-gpu, edge-agent-runtime-tflite (arm64); default: all of the architecture
#
# PACKAGE_VERSION and PACKAGE_MAINTAINER may be given; the version is the commit's else.

. "$(dirname "$0")/lib.sh"

usage="usage: deb.sh OUT ARCH [PACKAGE...]"
out=${1:?$usage}
arch=${2:?$usage}
shift 2
if [ $# -eq 0 ]; then
	set -- edge-agent edge-agent-capture-406 edge-agent-capture-410 edge-agent-data edge-agent-runtime edge-agent-runtime-gpu
	if [ "$arch" = arm64 ]; then
		set -- "$@" edge-agent-runtime-tflite
	fi
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

cd "$root"
umask 022
export PACKAGE_ARCH=$arch LITERT_VERSION=$litert_version
agent_version=${PACKAGE_VERSION:-$(build/version.sh debian)}
maintainer=${PACKAGE_MAINTAINER:-edge-agent maintainers <maintainers@edge-agent.invalid>}
export PACKAGE_MAINTAINER=$maintainer
agent_date=$(build/version.sh date)
# The runtime's packages stay the same bytes from release to release: their own version and date. What changes
# build/deb/edge-agent-runtime* or build/deb/runtime* raises the number behind the dash.
runtime_revision=1
runtime_date=$(date -u -d 2026-11-23 +%s)

stage=$root/build/out/stage/$arch
export STAGE=$stage
nfpm=$(build/tools.sh nfpm)

# binaries OPENCV: builds both for this architecture and OpenCV; once a run.
declare -A built=()
binaries() {
	if [ -z "${built[$1]:-}" ]; then
		build/release.sh "$arch" "$1" "$root/build/out/$arch-opencv$1"
		built[$1]=yes
	fi
}

# compress FILE: makes FILE.gz without name and time in it.
compress() {
	gzip -9nf "$1"
}

# changelog NAME VERSION DATE: Debian's changelog with one entry, whose text is standard input.
changelog() {
	printf '%s (%s) unstable; urgency=medium\n\n' "$1" "$2"
	cat
	printf '\n -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -u -R -d "@$3")"
}

# changes: the newest part of CHANGELOG.md as lines of a Debian changelog.
changes() {
	local line
	awk '/^## / { if (seen++) exit; next }
		!seen { next }
		/^- / { if (item) print item; item = substr($0, 3); next }
		NF { sub(/^ +/, " "); item = item $0 }
		END { if (item) print item }' CHANGELOG.md | tr -d '`' |
		while read -r line; do
			printf '* %s\n' "$line" | fold -s -w 74 | sed -e '1s/^/  /' -e '2,$s/^/    /' -e 's/ $//'
		done
}

# licences DIRECTORY BINARY: of all Go modules in the binary, and of Go itself, into DIRECTORY/licences.gz.
licences() {
	local module version folder file
	{
		echo "Licences of the Go modules that are linked into $(basename "$2")"
		go version -m "$2" | awk '$1 == "dep" { print $2, $3 }' | while read -r module version; do
			folder=$(go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')
			[ -d "$folder" ] || die "the module $module $version is not in the module cache"
			printf '\n==== %s %s\n' "$module" "$version"
			find "$folder" -maxdepth 1 -type f \( -iname 'LICEN[CS]E*' -o -iname 'COPYING*' -o -iname 'NOTICE*' \) | LC_ALL=C sort |
				while read -r file; do
					printf '\n-- %s\n\n' "$(basename "$file")"
					tr -d '\r' <"$file"
				done | grep . || die "the module $module $version comes without a licence"
		done
		printf '\n==== The Go standard library and runtime\n\n'
		cat "$(go env GOROOT)/LICENSE"
	} >"$1/licences"
	compress "$1/licences"
}

# manual DIRECTORY: man pages and completions, made by this machine whatever is built for.
manual() {
	(
		. build/env.sh
		read -r version commit < <(build/version.sh)
		SOURCE_DATE_EPOCH=$agent_date go run -tags man -ldflags "-X edgeagent/internal/build.Version=$version -X edgeagent/internal/build.Commit=$commit" \
			./cmd/agent "$1"
	)
	gzip -9nf "$1"/man/*.1
}

# pack NAME SPECIFICATION VERSION DATE
pack() {
	say "packing $1 $3 ($arch)"
	quietly env "PACKAGE_VERSION=$3" "SOURCE_DATE_EPOCH=$4" "$nfpm" package --packager deb --config "build/deb/$2" --target "$out"
}

# fresh NAME: an empty folder for what the package holds.
fresh() {
	rm -rf "${stage:?}/$1"
	mkdir -p "$stage/$1"
}

agent() {
	binaries 406
	local place=$stage/edge-agent
	fresh edge-agent
	cp "build/out/$arch-opencv406/edge-agent" "$place/"
	PACKAGE_DEPENDS=$(build/depends.sh "$place/edge-agent")
	PACKAGE_SUGGESTS="edge-agent-runtime-gpu"
	if [ "$arch" = arm64 ]; then
		PACKAGE_SUGGESTS+=", edge-agent-runtime-tflite"
	fi
	export PACKAGE_DEPENDS PACKAGE_SUGGESTS
	manual "$place"
	licences "$place" "$place/edge-agent"
	cp build/deb/copyright "$place/copyright"
	changes | changelog edge-agent "$agent_version" "$agent_date" >"$place/changelog"
	compress "$place/changelog"
	pack edge-agent edge-agent.yaml "$agent_version" "$agent_date"
}

# capture OPENCV NAME SUITE
capture() {
	binaries "$1"
	local name=edge-agent-capture-$1 place=$stage/edge-agent-capture-$1
	fresh "$name"
	cp "build/out/$arch-opencv$1/edge-agent-capture" "$place/"
	PACKAGE_DEPENDS=$(build/depends.sh "$place/edge-agent-capture")
	export PACKAGE_DEPENDS OPENCV=$1 OPENCV_NAME=$2 OPENCV_SUITE=$3
	licences "$place" "$place/edge-agent-capture"
	cp build/deb/copyright "$place/copyright"
	cp build/deb/edge-agent-capture.lintian "$place/lintian"
	echo "  * See edge-agent." | changelog "$name" "$agent_version" "$agent_date" >"$place/changelog"
	compress "$place/changelog"
	pack "$name" edge-agent-capture.yaml "$agent_version" "$agent_date"
}

data() {
	local place=$stage/edge-agent-data
	fresh edge-agent-data
	cp build/deb/edge-agent-data.copyright "$place/copyright"
	echo "  * See edge-agent." | changelog edge-agent-data "$agent_version" "$agent_date" >"$place/changelog"
	compress "$place/changelog"
	pack edge-agent-data edge-agent-data.yaml "$agent_version" "$agent_date"
}

# runtime NAME WHAT FILE VERSION
runtime() {
	local name=$1 place=$stage/$1 version=$4-$runtime_revision
	build/runtime.sh "$arch" "$2"
	fresh "$name"
	export LIBRARY=$cache/runtime/$arch/$3
	PACKAGE_DEPENDS=$(build/depends.sh "$LIBRARY")
	export PACKAGE_DEPENDS
	cp build/deb/runtime.copyright "$place/copyright"
	printf '  * The library of the wheel ai-edge-litert %s, unchanged:\n    sha256 %s.\n' "$4" "$(sha256sum "$LIBRARY" | cut -d' ' -f1)" |
		changelog "$name" "$version" "$runtime_date" >"$place/changelog"
	compress "$place/changelog"
	pack "$name" "$name.yaml" "$version" "$runtime_date"
}

for package in "$@"; do
	case $package in
	edge-agent) agent ;;
	edge-agent-capture-406) capture 406 4.6 "Debian 12 (bookworm)" ;;
	edge-agent-capture-410) capture 410 4.10 "Debian 13 (trixie)" ;;
	edge-agent-data) data ;;
	edge-agent-runtime) runtime edge-agent-runtime litert libLiteRt.so "$litert_version" ;;
	edge-agent-runtime-gpu) runtime edge-agent-runtime-gpu gpu gpu/libLiteRtWebGpuAccelerator.so "$litert_version" ;;
	edge-agent-runtime-tflite) runtime edge-agent-runtime-tflite tflite tflite/libLiteRt.so "$tflite_version" ;;
	*) die "there is no package $package" ;;
	esac
done
