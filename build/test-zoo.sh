#!/usr/bin/env bash
# The tests of the zoo: its Python tests, then every network made, quantized, run by classify and by the raw loop, and
# the table of docs/zoo.md. The figures last. ARCH="lenet5 resnet18" takes only those; with `short` it is LeNet from
# scratch and nothing else, where the zoo's Python packages are there already.

. "$(dirname "$0")/lib.sh"

cd "$root"
models=$cache/zoo-models
figures=$cache/figures.zoo

# made NAME ARCH OPTION...: one network in a process of its own, so that its peak of memory is its own.
made() {
	local name=$1
	shift
	rm -rf "${models:?}/$name"
	nice zoo/make.sh net "$@" --out "$models/$name" 2>"$cache/zoo.log" || {
		tail -n 20 "$cache/zoo.log" >&2
		return 1
	}
}

# classified NAME: by the agent, which also checks the golden input of the manifest; and taken apart.
classified() {
	bin/edge-agent classify --json --top 1 --model "$models/$1/manifest.yaml" models/efficientnet_lite0/golden.png \
		>"$models/$1/classify.json" && bin/edge-agent inspect --json "$models/$1"/*.tflite >"$models/$1/inspect.json"
}

if [ "${1:-}" = short ]; then
	if ! cmp -s zoo/requirements.txt "$cache/venv-zoo/.lock"; then
		echo "skipped: LeNet from scratch: the zoo's Python packages (1.3 GB) are not installed; make test-zoo does that"
		exit 0
	fi
	made lenet5 lenet5 && classified lenet5
	exit
fi

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
	made "$arch" "$arch" && classified "$arch" || failed+=("$arch")
done
if [ -z "${ARCH:-}" ]; then
	for arch in alexnet zfnet googlenet; do # what the float island costs
		echo "== $arch without local response normalization"
		made "$arch-nolrn" "$arch" --lrn none && classified "$arch-nolrn" || failed+=("$arch-nolrn")
	done
fi

echo "== the raw loop"
go test -run '^$' -bench '^BenchmarkZoo$' -benchtime "${BENCHTIME:-1s}" -timeout 20m ./internal/litert >"$cache/zoo-bench.txt" ||
	failed+=("the raw loop")
[ -n "${ARCH:-}" ] || zoo/make.sh table "$cache/zoo-bench.txt" >>"$figures" || failed+=("the table")

printf '\n== figures\n'
cat "$figures"
[ ${#failed[@]} -eq 0 ] || die "'make test-zoo' failed at: ${failed[*]}"
