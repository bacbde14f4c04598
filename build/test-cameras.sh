#!/usr/bin/env bash
# The long tests of cameras: RTSP servers that are killed and stopped for 20 s by both backends, a thousand damaged
# JPEGs, 200 reconnects, sixteen cameras on one model; then the fuzzing of the stream reader. The figures last.

. "$(dirname "$0")/lib.sh"

cd "$root"
export EDGE_AGENT_TEST_LONG=1
figures=$cache/figures
build/build.sh bin
go build -o "$cache/bin/testlog" ./build/testlog

failed=0
go test -json -count=1 -timeout 30m ./capture/... ./internal/source ./infer | "$cache/bin/testlog" -figures "$figures.cameras" || failed=1
go test -json -count=1 -timeout 10m -run 'Regions|SixteenCameras|EightRates|Snapshot|Marks' ./cmd/agent |
	"$cache/bin/testlog" -figures "$figures.cameras-shares" || failed=1
go test -json -count=1 -tags "${GOCV_TAGS:-gocv_specific_modules,gocv_videoio},matprofile" ./capture/opencv |
	"$cache/bin/testlog" -figures "$figures.cameras-mats" || failed=1
go test -run '^$' -fuzz FuzzParts -fuzztime "${FUZZTIME:-2m}" ./capture/opencv || failed=1

printf '\n== figures\n'
cat "$figures.cameras" "$figures.cameras-shares" "$figures.cameras-mats"
exit $failed
