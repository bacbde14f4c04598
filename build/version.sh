#!/usr/bin/env bash
# Prints the version and the commit that go into the binaries. The version is the tag (v1.2.3 gives 1.2.3), or
# the next one from the file VERSION marked as a development build.

. "$(dirname "$0")/lib.sh"

cd "$root"
commit=unknown
if git rev-parse --git-dir >/dev/null 2>&1; then
	commit=$(git describe --always --dirty --exclude '*' --abbrev=12)
fi
if ! version=$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null); then
	version=v$(cat VERSION)-dev
fi
echo "${version#v} $commit"
