#!/usr/bin/env bash
# All that shows how far answers can be trusted: decoders against plain Python, average precision against
# pycocotools, real models through run and classify, wrong recipes found out, the default model beside its float
# original, evaluations with perturbations, unusual pictures and labels, and what decoding costs beside numpy and
# OpenCV. The figures last. `make test` has a short form of it: no perturbations, no benchmarks, two of the recipes.
# It installs the zoo's Python packages (1.3 GB) where they are missing.

. "$(dirname "$0")/lib.sh"

cd "$root"
export PATH=$PATH:/usr/sbin EDGE_AGENT_TEST_LONG=1
figures=$cache/figures
mkdir -p "$cache"
go build -o "$cache/bin/testlog" ./build/testlog

failed=0
[ -f "$cache/zoo/efficientnet_lite0_float.tflite" ] || quietly zoo/make.sh original || failed=1
go test -json -count=1 -timeout 10m ./infer ./infer/eval | "$cache/bin/testlog" -figures "$figures.answers" || failed=1
go test -json -count=1 -timeout 20m -run 'Python|Known|Tasks|References|Eval|ModelCheck|EXIF|Animated|Pixels|ManyLabels|BadPictures' ./cmd/agent |
	"$cache/bin/testlog" -figures "$figures.answers-road" || failed=1

# Decoding, in Go and in Python one after the other on the same machine; of five runs the quickest, as what else runs
# only ever adds.
go test -run '^$' -bench Boxes -benchtime 0.3s -count 5 ./infer |
	bench_figures | awk '{
		if (!($1 in least)) { order[++n] = $1; least[$1] = $2 }
		if ($2 + 0 < least[$1] + 0) least[$1] = $2
	}
	END { for (i = 1; i <= n; i++) print order[i] " " least[order[i]] }' >"$figures.answers-bench" || failed=1
zoo/make.sh decoding >>"$figures.answers-bench" || failed=1

# within NAME LIMIT: a figure of decoding is there and at most LIMIT.
within() {
	awk -v name="$1:" -v limit="$2" '$1 == name { found = 1; if ($2 > limit) { print "too much: " $0 ", at most " limit; bad = 1 } }
		END { if (!found) { print "no figure " name; bad = 1 }; exit bad }' "$figures.answers-bench" >&2 || failed=1
}
within boxes_ssd_10_ns_per_op 20000
within boxes_yolo_8400x84_int8_ns_per_op 2000000
for name in boxes_ssd_10 boxes_yolo_8400x84_int8 boxes_yolo_8400x84_as_python boxes_yolo_8400x84_float32; do
	within "${name}_allocs_per_op" 0
done

printf '\n== figures\n'
cat "$figures.answers" "$figures.answers-road" "$figures.answers-bench"
exit $failed
