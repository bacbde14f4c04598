#!/usr/bin/env bash
# Builds a tool of build/tools/go.mod or a server of build/peers/go.mod, where it is pinned with all it needs, into
# build/cache/bin, and prints its path.
#
#   build/tools.sh nfpm|cyclonedx-gomod|toxiproxy-server|nats-server|queuebench

. "$(dirname "$0")/lib.sh"

name=${1:?usage: tools.sh NAME}
module=peers
case $name in
nfpm) module=tools package=github.com/goreleaser/nfpm/v2/cmd/nfpm ;;
cyclonedx-gomod) module=tools package=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod ;;
toxiproxy-server) package=github.com/Shopify/toxiproxy/v2/cmd/server ;;
nats-server) package=github.com/nats-io/nats-server/v2 ;;
queuebench) package=./testdata/queuebench ;;
*) die "tools.sh knows nfpm, cyclonedx-gomod, toxiproxy-server, nats-server and queuebench, not $name" ;;
esac

tool=$cache/bin/$name
# Anew when a version has changed.
if [ ! -x "$tool" ] || [ "$root/build/$module/go.sum" -nt "$tool" ] || [ "${package#./}" != "$package" ]; then
	[ "${package#./}" != "$package" ] || say "building $name (once, about half a minute)"
	mkdir -p "$cache/bin"
	# Our tags and C settings, and the architecture that is built for, are not for it.
	(cd "$root/build/$module" && quietly env -u GOOS -u GOARCH -u CC -u CXX GOTOOLCHAIN=auto GOFLAGS=-mod=readonly CGO_ENABLED=0 \
		go build -trimpath -o "$tool.new" "$package") || die "$name could not be built"
	mv "$tool.new" "$tool"
	touch "$tool"
fi
echo "$tool"
