#!/usr/bin/env bash
# Installs the packages that SOURCE/package-lock.json names into FOLDER; silent when they are there and as the lock wants them.
#
#   build/npm.sh FOLDER SOURCE

. "$(dirname "$0")/lib.sh"
cd "$root"

modules=$1 source=$2

# The copy of the lock is laid down last, so a folder that is broken or outdated is made anew.
if ! cmp -s "$source/package-lock.json" "$modules/.lock"; then
	say "installing the npm packages of $source"
	rm -rf "$modules"
	mkdir -p "$modules"
	cp "$source/package.json" "$source/package-lock.json" "$modules"
	(cd "$modules" && retry npm ci --silent --no-audit --no-fund) ||
		die "npm could not install what $source/package.json names: check the network and try again"
	cp "$source/package-lock.json" "$modules/.lock"
fi
