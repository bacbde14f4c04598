#!/usr/bin/env bash
# The page in headless Chromium, driven by Playwright, and the ready-made rules and dashboards. Installs what it needs
# (chromium and nodejs by apt, the rest by npm, pinned). The figures last; PICTURES=docs draws the documents' pictures.

. "$(dirname "$0")/lib.sh"

cd "$root"
build/setup.sh dashboards
modules=$cache/npm-dashboards
if ! cmp -s build/dashboards/package-lock.json "$modules/.lock"; then # laid down last: a broken one is made anew
	rm -rf "$modules"
	mkdir -p "$modules"
	cp build/dashboards/package.json build/dashboards/package-lock.json "$modules"
	(cd "$modules" && retry npm ci --silent --no-audit --no-fund) ||
		die "npm could not install what build/dashboards/package.json names: check the network and try again"
	cp build/dashboards/package-lock.json "$modules/.lock"
fi

log=$cache/dashboards.log
failed=0
ROOT=$root MODULES=$modules node --test --test-reporter=spec build/dashboards/ 2>&1 | tee "$log" || failed=1

printf '\n== figures\n'
grep -oE 'figure: [a-z0-9_]+: .*' "$log" | cut -d' ' -f2-
exit $failed
