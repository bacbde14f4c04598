#!/usr/bin/env bash
# Makes a release: the packages of both architectures, an SBOM (CycloneDX) for each, and around them a flat apt
# repository: its index, its checksums, its signature and the key to check it with. The folder can be put as it is on
# any web server, USB stick or board.
#
#   build/release-all.sh OUT [ARCH...]     default: amd64 arm64
#
# build/repo.sh says what SIGNING_KEY is.

. "$(dirname "$0")/lib.sh"

out=${1:?usage: release-all.sh OUT [ARCH...]}
shift
[ $# -gt 0 ] || set -- amd64 arm64
rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
version=$("$root/build/version.sh" debian)

for arch in "$@"; do
	"$root/build/deb.sh" "$out" "$arch"
	"$root/build/sbom.sh" "$arch" "$out/edge-agent_${version}_$arch.cdx.json"
done
"$root/build/repo.sh" "$out" "$@"
