#!/usr/bin/env bash
# Runs golangci-lint at the pinned version, built into build/cache/bin at first, and the rules for files.

. "$(dirname "$0")/env.sh"

version=v2.15.0
linter=$cache/bin/golangci-lint-$version

cd "$root"
if [ ! -x "$linter" ]; then
	say "building golangci-lint $version (once, about two minutes)"
	place=$(mktemp -d)
	trap 'rm -rf "$place"' EXIT
	# Our tags and C settings are not for it.
	quietly env GOFLAGS= CGO_ENABLED=0 GOBIN="$place" \
		go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version" ||
		die "golangci-lint could not be built"
	mkdir -p "$cache/bin"
	mv "$place/golangci-lint" "$linter"
fi

build/filecheck.sh
GOLANGCI_LINT_CACHE=$cache/golangci-lint "$linter" run --allow-serial-runners ./...

if [ -d zoo ]; then
	PYTHONPYCACHEPREFIX=$cache/pycache python3 -m compileall -q zoo
fi
