#!/usr/bin/env bash
# Says in one line what to install when Go is missing or too old to fetch the toolchain that go.mod pins.

. "$(dirname "$0")/lib.sh"

advice="install one from go.dev/dl into /usr/local, or Debian's: apt-get install -t bookworm-backports golang-go"

command -v go >/dev/null || die "Go is missing (1.21 or newer is needed): $advice"

# local: the version of what is installed, not of the toolchain that it would fetch.
found=$(GOTOOLCHAIN=local go version 2>&1) || die "go does not run (${found%%$'\n'*}): $advice"
if [[ ! $found =~ go([0-9]+)\.([0-9]+) ]]; then
	die "go tells no version ($found): $advice"
fi
major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
if [ "$major" -lt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -lt 21 ]; }; then
	die "Go $major.$minor is too old (1.21 or newer is needed): $advice"
fi
