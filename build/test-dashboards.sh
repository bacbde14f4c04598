#!/usr/bin/env bash
# The page in headless Chromium, driven by Playwright, and the ready-made rules and dashboards in the programs that they
# are for. Installs what it needs (chromium, nodejs and prometheus by apt, the rest by npm and pip, pinned). The figures
# last; PICTURES=docs draws the documents' pictures.

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
: >"$log"
failed=()
# step NAME COMMAND...: runs it under a headline, and notes a failure.
step() {
	local name=$1
	shift
	printf '\n== %s\n' "$name"
	"$@" 2>&1 | tee -a "$log" || failed+=("$name")
}

export ROOT=$root MODULES=$modules
tests() { node --test --test-reporter=spec "$@"; }

# A live Home Assistant, in a folder of its own; laid down last: a broken one is made anew.
home_assistant() {
	export HASS=$cache/hass
	if ! cmp -s build/dashboards/hass.txt "$HASS/.lock"; then
		rm -rf "$HASS"
		python3 -m venv "$HASS" &&
			retry "$HASS/bin/pip" install --quiet --disable-pip-version-check -r build/dashboards/hass.txt ||
			die "Home Assistant could not be installed from PyPI: check the network and try again"
		cp build/dashboards/hass.txt "$HASS/.lock"
	fi
	PYTHONDONTWRITEBYTECODE=1 "$HASS/bin/python" build/dashboards/hass_schema.py &&
		tests build/dashboards/hass.test.mjs
}

# Prometheus, with Telegraf beside it, which Debian does not have: built from its Go module with what telegraf.conf uses
# and nothing else. Where it cannot be built, its dashboard is not asked, and that is told.
scraped() {
	local version=v1.37.2
	export TELEGRAF=$cache/bin/telegraf-$version
	if [ ! -x "$TELEGRAF" ]; then
		say "building telegraf $version (once, some minutes)"
		local place
		place=$(mktemp -d)
		if quietly env GOFLAGS= CGO_ENABLED=0 GOBIN="$place" go install \
			-tags custom,inputs.mqtt_consumer,parsers.json_v2,parsers.value,outputs.prometheus_client,processors.enum \
			"github.com/influxdata/telegraf/cmd/telegraf@$version"; then
			mkdir -p "$cache/bin"
			mv "$place/telegraf" "$TELEGRAF"
		else
			say "telegraf could not be built; the tests go on without it"
			TELEGRAF=
		fi
		rm -rf "$place"
	fi
	tests build/dashboards/prometheus.test.mjs
}

# All tests but those of other programs than ours, which have steps of their own.
page() {
	local file files=()
	for file in build/dashboards/*.test.mjs; do
		case $file in
		*/prometheus.test.mjs | */nodered.test.mjs | */hass.test.mjs) ;;
		*) files+=("$file") ;;
		esac
	done
	tests "${files[@]}"
}

rules() {
	promtool check rules docs/dashboards/prometheus-rules.yml &&
		promtool test rules build/dashboards/rules.test.yml
}

step page page
step rules rules
step prometheus scraped
step node-red tests build/dashboards/nodered.test.mjs
step home-assistant home_assistant

printf '\n== figures\n'
grep -oE 'figure: [a-z0-9_]+: .*' "$log" | cut -d' ' -f2-
[ ${#failed[@]} -eq 0 ] || die "'make test-dashboards' failed at: ${failed[*]}"
