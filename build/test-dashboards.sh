#!/usr/bin/env bash
# The page in headless Chromium, driven by Playwright, what lookers cost, watch in tmux, requests made by schemathesis, Prometheus' own
# opinion of the metrics; and the ready-made rules and dashboards in the programs that they are for. Installs what it
# needs (chromium, nodejs and prometheus by apt, the rest by npm and pip, pinned). The figures last.
#
#   build/test-dashboards.sh [STEP...]     only these; default: all but pictures, which draws the documents' own

. "$(dirname "$0")/lib.sh"

cd "$root"
export PATH=$PATH:/usr/sbin # Debian keeps mosquitto there, out of an ordinary user's path
build/setup.sh dashboards
figures=$cache/figures.dashboards
venv=$cache/venv-dashboards
rm -f "$figures"
modules=$cache/npm-dashboards
build/npm.sh "$modules" build/dashboards

log=$cache/dashboards.log
: >"$log"
failed=()
wanted=" $* "
# step NAME COMMAND...: runs it under a headline, if it is wanted, and notes a failure.
step() {
	local name=$1
	shift
	[ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
	printf '\n== %s\n' "$name"
	"$@" 2>&1 | tee -a "$log" || failed+=("$name")
}

export ROOT=$root MODULES=$modules
tests() { node --test --test-concurrency=1 --test-reporter=spec "$@"; }

# pictures: those of the documents, by the tests that say that what they show is true.
pictures() { PICTURES=${PICTURES:-docs} tests --test-name-pattern='the picture moves' build/dashboards/page.test.mjs; }

# go_tests PATTERN: those of cmd/agent with such names.
go_tests() {
	go build -o "$cache/bin/testlog" ./build/testlog
	local code=0
	EDGE_AGENT_TEST_LONG=1 go test -json -count=1 -timeout 15m -run "$1" ./cmd/agent | "$cache/bin/testlog" -figures "$figures.part" || code=$?
	cat "$figures.part" >>"$figures"
	return $code
}

# lookers: what one page costs, and what fifty do to the frames.
lookers() { go_tests 'OnePageCosts|FiftyPages'; }

# watch: the view in a terminal, in tmux and through a pipe.
watch() { go_tests 'TestWatch(InATerminal|ThroughAPipe|IsRefused)'; }

# with_agent COMMAND...: runs it while an agent with a login does, whose page is at $page.
with_agent() {
	local dir agent code=0
	dir=$(mktemp -d)
	echo "correct horse" | bin/edge-agent passwd "$dir/hash" >/dev/null
	cat >"$dir/config.yaml" <<-YAML
		version: 1
		agent: {id: page, data_dir: $dir/data}
		mqtt: {broker: embedded, embedded: {listen: "127.0.0.1:0", websocket: ""}}
		models: {objects: {manifest: $root/models/efficientnet_lite0/manifest.yaml, threads: 1}}
		cameras: {front: {source: $root/models/demo/demo.mp4, models: [objects], fps: 10}}
		commands: {allow: [fps, threshold, delegate, log_level]}
		web: {listen: "127.0.0.1:0", username: admin, password_file: hash, pprof: true}
	YAML
	bin/edge-agent run -c "$dir/config.yaml" --print >"$dir/said" 2>"$dir/log" &
	agent=$!
	for _ in $(seq 300); do
		page=$(sed -n 's/^Page: //p' "$dir/said")
		[ -z "$page" ] || break
		kill -0 $agent || break
		sleep 0.1
	done
	if [ -n "$page" ]; then "$@" || code=$?; else
		cat "$dir/log"
		code=1
	fi
	kill $agent
	wait $agent || code=$?
	rm -rf "$dir"
	return $code
}

# requests: what schemathesis makes of openapi.yaml, right and wrong, with and without a login. The stream of events has
# no end, which it cannot wait for; commands meet the limit of two a second, and FuzzCommand reads them by millions.
requests() {
	build/venv.sh "$venv" build/dashboards/requirements.txt || return
	with_agent make_requests
}

# It leaves notes of its own where it runs.
make_requests() {
	local code=0 out=$cache/requests.log total
	: >"$out"
	for auth in "--auth=admin:correct horse" "--header=X-Nobody: yes"; do
		(cd "$cache" && "$venv/bin/schemathesis" run "$root/docs/openapi.yaml" --url "$page" --exclude-path /api/events "$auth" --phases coverage,fuzzing \
			--checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
			--max-examples "${EXAMPLES:-50}" --continue-on-failure --warnings off --no-color) 2>&1 | tee -a "$out" || code=1
	done
	total=$(sed -n 's/^ *\([0-9]*\) generated.*/\1/p' "$out" | awk '{s += $1} END {print s + 0}')
	echo "page_requests_made: $total" >>"$figures"
	echo "page_requests_with_a_fault: $(grep -c '^ *- Test Case ID' "$out" || true)" >>"$figures"
	return $code
}

# metrics: promtool's opinion of /metrics, which needs no login.
metrics() { with_agent check_metrics; }

check_metrics() {
	curl -sf "${page}metrics" >"$cache/metrics.txt" || return 1
	promtool check metrics <"$cache/metrics.txt" || return 1
	echo "metrics_families: $(grep -c '^# TYPE' "$cache/metrics.txt")" >>"$figures"
	echo "metrics_promtool_complaints: 0" >>"$figures"
}

# hass NAME PYTHON: a Home Assistant as build/dashboards/NAME.txt pins it, in a folder of its own, $HASS. Laid down last:
# a broken one is made anew.
hass() {
	local list=build/dashboards/$1.txt
	export HASS=$cache/$1
	cmp -s "$list" "$HASS/.lock" && return
	say "installing the Home Assistant of $list (once, some minutes)"
	rm -rf "$HASS"
	"$2" -m venv "$HASS" &&
		retry "$HASS/bin/pip" install --quiet --disable-pip-version-check -r "$list" ||
		die "Home Assistant could not be installed from PyPI: check the network and try again"
	cp "$list" "$HASS/.lock"
}

# The form of one message an entity, with the version that Debian 12's Python can run.
home_assistant() {
	hass hass python3
	PYTHONDONTWRITEBYTECODE=1 "$HASS/bin/python" build/dashboards/hass_schema.py &&
		tests build/dashboards/hass.test.mjs
}

# The form of one message a device, with a newer version: it wants Python 3.13, which Debian 13 and pyenv have.
home_assistant_by_device() {
	local python
	for python in python3.13 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3 ""; do
		! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || break
	done
	if [ -z "$python" ]; then
		say "no Python 3.13 here, which the newer Home Assistant wants: the form of one message a device is not tried with it"
		return
	fi
	hass hass-next "$python"
	FORM=device tests build/dashboards/hass.test.mjs
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
[ "$wanted" != " pictures " ] || step pictures pictures
step lookers lookers
step watch watch
step requests requests
step metrics metrics
step rules rules
step prometheus scraped
step node-red tests build/dashboards/nodered.test.mjs
step home-assistant home_assistant
step home-assistant-by-device home_assistant_by_device

printf '\n== figures\n'
{ grep -oE 'figure: [a-z0-9_]+: .*' "$log" || true; } | cut -d' ' -f2-
cat "$figures" 2>/dev/null || true
[ ${#failed[@]} -eq 0 ] || die "'make test-dashboards' failed at: ${failed[*]}"
