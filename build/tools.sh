#!/usr/bin/env bash
# Builds a tool of build/tools/go.mod, where it is pinned with all it needs, into build/cache/bin, and prints its path.
#
#   build/tools.sh nfpm|cyclonedx-gomod

. "$(dirname "$0")/lib.sh"

name=${1:?usage: tools.sh NAME}
case $name in
nfpm) package=github.com/goreleaser/nfpm/v2/cmd/nfpm ;;
cyclonedx-gomod) package=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod ;;
*) die "tools.sh knows nfpm and cyclonedx-gomod, not $name" ;;
esac

tool=$cache/bin/$name
# Anew when a version has changed.
if [ ! -x "$tool" ] || [ "$root/build/tools/go.sum" -nt "$tool" ]; then
	say "building $name (once, about half a minute)"
	mkdir -p "$cache/bin"
	# Our tags and C settings, and the architecture that is built for, are not for it.
	(cd "$root/build/tools" && quietly env -u GOOS -u GOARCH -u CC -u CXX GOTOOLCHAIN=auto GOFLAGS=-mod=readonly CGO_ENABLED=0 \
		go build -trimpath -o "$tool.new" "$package") || die "$name could not be built"
	mv "$tool.new" "$tool"
	touch "$tool"
fi
echo "$tool"
