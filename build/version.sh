#!/usr/bin/env bash
# Prints the version and the commit that go into the binaries. The version is the tag (v1.2.3 gives 1.2.3), or
# the next one from the file VERSION marked as a development build.
#
#   build/version.sh            "0.1.0-dev 0123456789ab"
#   build/version.sh debian     the same as a Debian version, which sorts: 0.1.0~dev20260102.0304.0123456
#   build/version.sh date       seconds since 1970 of the commit (or SOURCE_DATE_EPOCH), for what must have a date

. "$(dirname "$0")/lib.sh"

cd "$root"
commit=unknown
if git rev-parse --git-dir >/dev/null 2>&1; then
	commit=$(git describe --always --dirty --exclude '*' --abbrev=12)
fi
if ! version=$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null); then
	version=v$(cat VERSION)-dev
fi
version=${version#v}

# date: of the commit, so that the same input gives the same bytes.
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

case ${1:-} in
'') echo "$version $commit" ;;
date) echo "$date" ;;
debian)
	dirty=
	if [[ $commit == *-dirty ]]; then
		dirty=.dirty
	fi
	version=${version%-dirty}
	commit=${commit%-dirty}
	case $version in
	*-dev) echo "${version%-dev}~dev$(date -u -d "@$date" +%Y%m%d.%H%M).${commit:0:7}$dirty" ;;
	*-*-g*) # so many commits after the tag
		release=${version%-*-g*}
		echo "${release//-/\~}+${version#"$release"-}$dirty" | sed 's/-g/.g/'
		;;
	*) echo "${version//-/\~}$dirty" ;; # 1.2.0-rc1 comes before 1.2.0
	esac
	;;
*) die "usage: version.sh [debian|date]" ;;
esac
