#!/usr/bin/env bash
# Makes the Debian package edge-agent-tensorflow: the worker for SavedModels with TensorFlow's libraries, 140 MB and more.
# It is of the agent's own version, and no part of `make deb` and `make release`.
#
#   build/tensorflow-deb.sh OUT [ARCH]     default: this machine's architecture

. "$(dirname "$0")/lib.sh"

out=$(realpath -m "${1:?usage: tensorflow-deb.sh OUT [ARCH]}")
arch=${2:-$(this_arch)}
stage=$root/build/out/stage/$arch/edge-agent-tensorflow

cd "$root"
umask 022
build/tensorflow.sh "$stage" "$arch"
libraries=$(echo "$cache"/tensorflow/*-"$arch")
TENSORFLOW_VERSION=$(basename "$libraries" "-$arch")
{
	echo "TensorFlow's libraries are those of the wheel of TensorFlow $TENSORFLOW_VERSION in PyPI."
	echo
	cat "$libraries/LICENSE" "$libraries/THIRD_PARTY_NOTICES.txt"
	printf '\n==== edge-infer-tf\n\n'
	cat LICENSE
} >"$stage/copyright"
mkdir -p "$out"
export TENSORFLOW_VERSION PACKAGE_ARCH=$arch STAGE=$root/build/out/stage/$arch
export PACKAGE_MAINTAINER=${PACKAGE_MAINTAINER:-edge-agent maintainers <maintainers@edge-agent.invalid>}
export PACKAGE_VERSION=${PACKAGE_VERSION:-$(build/version.sh debian)}
say "packing edge-agent-tensorflow $PACKAGE_VERSION ($arch): some minutes"
quietly env "SOURCE_DATE_EPOCH=$(build/version.sh date)" "$(build/tools.sh nfpm)" package --packager deb \
	--config build/deb/edge-agent-tensorflow.yaml --target "$out"
