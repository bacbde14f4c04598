#!/usr/bin/env bash
# Writes what is in the binaries and packages of an architecture as a CycloneDX file: the Go modules by
# cyclonedx-gomod, which reads them from the binaries themselves; and what is not Go, with its sha256: the runtime's
# libraries, the model, and OpenCV, which comes from the distribution.
#
#   build/sbom.sh ARCH FILE      after build/deb.sh

. "$(dirname "$0")/lib.sh"

usage="usage: sbom.sh ARCH FILE"
arch=${1:?$usage}
file=${2:?$usage}
tool=$("$root/build/tools.sh" cyclonedx-gomod)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

read -r version _ < <("$root/build/version.sh")
for binary in edge-agent edge-agent-capture; do
	GOOS=linux GOARCH=$arch quietly "$tool" bin -json -noserial -notimestamp -std -version "v$version" \
		-output "$work/$binary.json" "$root/build/out/$arch-opencv406/$binary" || die "cyclonedx-gomod failed for $binary"
done
python3 "$root/build/sbom.py" "$work/edge-agent.json" "$work/edge-agent-capture.json" "$version" "$arch" \
	"$litert_version" "$cache/runtime/$arch/libLiteRt.so" "$cache/runtime/$arch/gpu/libLiteRtWebGpuAccelerator.so" \
	"$tflite_version" "$cache/runtime/$arch/tflite/libLiteRt.so" \
	"$root/models/efficientnet_lite0/efficientnet_lite0_int8.tflite" >"$file"
