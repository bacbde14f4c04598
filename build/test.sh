#!/usr/bin/env bash
# All that `make test` does, one step after the other, the figures last. Without a build nothing goes on; after
# that every step runs, so that one sees all that is wrong at once.

. "$(dirname "$0")/lib.sh"

cd "$root"
export PATH=$PATH:/usr/sbin # Debian keeps mosquitto there, out of an ordinary user's path
figures=$cache/figures
mkdir -p "$cache"
rm -f "$figures" "$figures".*
started=$SECONDS

failed=()
# step NAME COMMAND...: runs it under a headline, notes the seconds as a figure, and a failure.
step() {
	local name=$1 since=$SECONDS
	shift
	printf '\n== %s\n' "$name"
	"$@" || failed+=("$name")
	echo "time_${name//[^a-z0-9]/_}_s: $((SECONDS - since))" >>"$figures"
}

# go.mod names what the code imports. Where the registry does not serve all that tidy asks for (it looks at the
# tests of dependencies too), that is told and is no failure.
tidy() {
	local diff
	if diff=$(GOFLAGS=-mod=mod go mod tidy -diff 2>"$cache/tidy.err"); then
		return 0
	fi
	if [ -n "$diff" ]; then
		echo "$diff"
		say "go.mod or go.sum is not tidy: run 'go mod tidy'"
		return 1
	fi
	echo "not checked: go mod tidy cannot run here ($(tail -n 1 "$cache/tidy.err"))"
}

# What some tests want and none needs: without it they are skipped, with the reason.
test_libs() {
	build/test-libs.sh tflite || say "the tests go on without it"
	build/runtime.sh "$(this_arch)" gpu || say "the tests go on without it"
	[ "$(this_arch)" != amd64 ] || build/test-libs.sh swiftshader || say "the tests go on without it"
}

go_tests() {
	go test -json -race -timeout 10m ./... | "$cache/bin/testlog" -figures "$figures.race" -again "$figures.again"
}

# without_race: the tests that the race detector hinders, as those of allocations and speed, without it.
without_race() {
	local packages names
	packages=$(cut -d' ' -f1 "$figures.again" | sort -u)
	names=$(cut -d' ' -f2 "$figures.again" | cut -d/ -f1 | sort -u | paste -sd'|')
	[ -n "$names" ] || return 0
	# shellcheck disable=SC2086 # one word a package
	go test -json -run "^($names)\$" $packages | "$cache/bin/testlog" -figures "$figures.plain"
}

# tensorflow: the second engine, where `make tensorflow` has been; its libraries are not fetched for it.
tensorflow() {
	if compgen -G "$cache/tensorflow/*/.whole" >/dev/null; then
		build/setup.sh tensorflow && build/tensorflow.sh bin && build/test-tensorflow.sh short
	else
		say "skipped: TensorFlow is not here; make test-tensorflow fetches it (250 MB) and runs its tests"
	fi
}

# boundary: what the step between two processes costs a frame, beside nothing else that runs; and the floor, two
# processes that do nothing but read and write. Paced: 5 ms apart, so that both have gone to sleep.
boundary() {
	go test -run '^$' -bench RoundTrip -benchtime 300x ./internal/worker |
		awk '/p50-us/ {
			split($1, name, "/"); sub(/-[0-9]+$/, "", name[2]); gsub(/-/, "_", name[2])
			for (i = 2; i <= NF; i++) if ($i == "p50-us") print "boundary_" name[2] "_p50_us: " $(i - 1)
		}' >"$figures.boundary"
}

# kept NAME COMMAND...: a script that prints its figures last; they are kept for the end.
kept() {
	local to=$figures.$1
	shift
	"$@" | awk -v to="$to" '/^== figures$/ { last = 1; next } last { print >>to; next } { print; fflush() }'
}

# packages: those of this machine's architecture, made and signed as `make release` does it, and installed under a systemd.
# The rest of that way is `make test-board`'s.
packages() {
	local folder=build/out/packages
	rm -rf "$folder"
	build/deb.sh "$folder" "$(this_arch)" edge-agent edge-agent-capture-406 edge-agent-data edge-agent-runtime || return
	build/repo.sh "$folder" "$(this_arch)" || return
	kept packages build/test-release.sh "$folder" signed sizes || return
	kept packages build/test-install.sh "$folder" short
}

step setup build/setup.sh test
step test-libs test_libs
step build make build
[ ${#failed[@]} -eq 0 ] || die "'make test' failed at: ${failed[*]}"
. build/env.sh # only now: it tells the OpenCV that set-up may just have installed
step lint make lint
step modules tidy
step vet go vet ./...
go build -o "$cache/bin/testlog" ./build/testlog
step tests go_tests
step without-race without_race
step zoo build/test-zoo.sh short
step tensorflow tensorflow
step boundary boundary
step boot kept boot build/test-boot.sh installed watchdog
step packages packages
if [ "$(this_arch)" != arm64 ]; then
	step arm64 make arm64
fi

printf '\n== figures\n'
for binary in edge-agent edge-agent-capture; do
	echo "size_${binary//-/_}_bytes: $(stat -c %s "bin/$binary")" >>"$figures"
done
echo "time_total_s: $((SECONDS - started))" >>"$figures"
cat "$figures".{race,plain,boundary,zoo,boot,packages} "$figures" 2>/dev/null || true
[ ${#failed[@]} -eq 0 ] || die "'make test' failed at: ${failed[*]}"
