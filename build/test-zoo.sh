#!/usr/bin/env bash
# The tests of the zoo: its Python tests, then every network made, quantized, run by classify and by the raw loop, the
# table of docs/zoo.md, the tour of docs/tour.md, inspect on all of them, and where `make tensorflow` has been
# TensorFlow for Go beside LiteRT. The figures last. ARCH="lenet5 resnet18" takes only those; CONTINUE=1 goes on where an
# earlier run was stopped, and keeps what has been made of the same sources; with `short` it is LeNet from scratch and
# nothing else.
#
#   build/test-zoo.sh [short]
#   build/test-zoo.sh page    inspect's page in headless Chromium; PICTURES=docs draws the picture of docs/inspect.md

. "$(dirname "$0")/lib.sh"

cd "$root"
models=$cache/zoo-models
figures=$cache/figures.zoo

# sources OPTION...: a sum of all that a network is made of.
sources() {
	{
		echo "$*"
		cat zoo/nets/*.py zoo/requirements.txt zoo/{compare,convert,facts,fold,litert,net,pictures,preprocess,random_weights,report}.py
	} | sha256sum
}

# made NAME ARCH OPTION...: one network in a process of its own, so that its peak of memory is its own.
made() {
	local name=$1 sum
	shift
	sum=$(sources "$@")
	if [ -n "${CONTINUE:-}" ] && [ "$(cat "$models/$name/.sources" 2>/dev/null)" = "$sum" ]; then
		echo "kept, as it was made of the same sources"
		return 0
	fi
	rm -rf "${models:?}/$name"
	zoo/make.sh net "$@" --out "$models/$name" 2>"$cache/zoo.log" || {
		tail -n 20 "$cache/zoo.log" >&2
		return 1
	}
	echo "$sum" >"$models/$name/.sources"
}

# classified NAME: by the agent, which also checks the golden input of the manifest, the quantized file and its float
# twin; and taken apart.
classified() {
	local folder=$models/$1 manifest
	for manifest in "$folder/manifest.yaml" "$folder"/float/manifest.yaml; do
		[ -e "$manifest" ] || continue
		bin/edge-agent classify --json --top 1 --model "$manifest" models/efficientnet_lite0/golden.png \
			>"$(dirname "$manifest")/classify.json" || return
	done
	bin/edge-agent inspect --json "$folder"/*.tflite >"$folder/inspect.json"
}

# raw_loop [NAME]: that one or all that were made, with one thread and two.
raw_loop() {
	go test -run '^$' -bench "^BenchmarkZoo\$${1:+/^$1\$}" -benchtime "${BENCHTIME:-1s}" -timeout 20m ./internal/litert >"$cache/zoo-bench.txt"
}

page() {
	[ -z "${PICTURES:-}" ] || export EDGE_AGENT_TEST_PICTURES=1
	go test -json -count=1 -run '^TestPageInChromium$' ./infer/inspect | "$cache/bin/testlog" -figures "$figures.page"
}

go build -o "$cache/bin/testlog" ./build/testlog
case ${1:-all} in
short)
	platform=$(python3 -c 'import platform, sys; print(platform.machine(), "%d.%d" % sys.version_info[:2])')
	if [ "$platform" != "x86_64 3.11" ]; then
		echo "skipped: LeNet from scratch: the zoo's packages are for x86_64 and Python 3.11, this is $platform"
		exit
	fi
	made lenet5 lenet5 --float && classified lenet5 && BENCHTIME=100x raw_loop lenet5 &&
		zoo/make.sh table "$cache/zoo-bench.txt" lenet5 >"$figures"
	exit
	;;
page)
	build/setup.sh zoo
	page
	exit
	;;
esac

build/setup.sh zoo
failed=()
: >"$figures"
python_tests() {
	zoo/make.sh test >"$figures.tests" 2>"$cache/zoo-tests.log" || {
		tail -n 60 "$cache/zoo-tests.log" >&2
		return 1
	}
	grep -E '^[a-z0-9_]+: ' "$figures.tests" >>"$figures"
}
echo "== Python tests"
python_tests || failed+=("the Python tests")

all="lenet5 alexnet alexnet-tv zfnet zfnet-wide vgg16 vgg19 googlenet googlenet-bn resnet18 resnet34 resnet50 resnet101
	densenet121 resnext50-32x4d se-resnet50"
for arch in ${ARCH:-$all}; do
	echo "== $arch"
	made "$arch" "$arch" --float && classified "$arch" || failed+=("$arch")
done
if [ -z "${ARCH:-}" ]; then
	for arch in alexnet zfnet googlenet; do # what the float island costs
		echo "== $arch without local response normalization"
		made "$arch-nolrn" "$arch" --lrn none --no-saved-model && classified "$arch-nolrn" || failed+=("$arch-nolrn")
	done
fi

echo "== the raw loop"
raw_loop || failed+=("the raw loop")
# shellcheck disable=SC2086 # one word a network
zoo/make.sh table "$cache/zoo-bench.txt" ${ARCH:-} >>"$figures" || failed+=("the table")
if [ -z "${ARCH:-}" ]; then
	echo "== the tour"
	zoo/make.sh tour >"$figures.tour" || failed+=("the tour")
	grep -v '^tour_' "$figures.tour" || true
	grep '^tour_' "$figures.tour" >>"$figures" || true
fi
echo "== inspect"
go test -json -count=1 ./infer/inspect ./internal/modelfile | "$cache/bin/testlog" -figures "$figures.inspect" || failed+=("inspect")
cat "$figures.inspect" >>"$figures"
if compgen -G "$cache/tensorflow/*/.whole" >/dev/null; then
	echo "== the float networks by TensorFlow for Go"
	build/test-tensorflow.sh zoo || failed+=("TensorFlow for Go")
	cat "$figures.tensorflow-zoo" >>"$figures"
else
	say "skipped: the float networks by TensorFlow for Go: 'make tensorflow' fetches it (250 MB); 'make test-tensorflow' compares them too"
fi

printf '\n== figures\n'
cat "$figures"
[ ${#failed[@]} -eq 0 ] || die "'make test-zoo' failed at: ${failed[*]}"
