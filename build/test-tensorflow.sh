#!/usr/bin/env bash
# All that shows the second engine: SavedModels and frozen graphs in a real TensorFlow, what must be refused, the demo
# clip beside the quantized model, the worker's death. After `make tensorflow`; the figures last.
#
#   build/test-tensorflow.sh [short]     short: without the fuzzer, the package, arm64 and the zoo's large networks
#   build/test-tensorflow.sh zoo         only the zoo's networks, by TensorFlow and by LiteRT

. "$(dirname "$0")/lib.sh"

cd "$root"
export PATH=$PATH:/usr/sbin EDGE_AGENT_TEST_TENSORFLOW=1 # Debian keeps mosquitto there
figures=$cache/figures
go build -o "$cache/bin/testlog" ./build/testlog

module() {
	eval "$(build/tensorflow.sh env)"
	cd infer/savedmodel
	export LD_LIBRARY_PATH TF_CPP_MIN_LOG_LEVEL=3
	LD_LIBRARY_PATH=$(sed -n 's/^-L\([^ ]*\) .*/\1/p' <<<"$CGO_LDFLAGS")
	go vet ./... && "$@"
}
if [ "${1:-}" = zoo ]; then
	(module go test -json -count=1 -timeout 20m -run Zoo .) | "$cache/bin/testlog" -figures "$figures.tensorflow-zoo"
	exit
fi
failed=0
[ -f "$cache/original/manifest.yaml" ] || zoo/make.sh tensorflow 2>/dev/null || say "without the original model most is skipped"
(module go test -json -count=1 -timeout 20m ${1:+"-$1"} ./...) | "$cache/bin/testlog" -figures "$figures.tensorflow" || failed=1
if [ "${1:-}" != short ]; then
	(module go test -run '^$' -fuzz FuzzGraph -fuzztime "${FUZZTIME:-30s}" -parallel 1 .) || failed=1
fi
go test -json -count=1 -timeout 15m -run TensorFlow ./cmd/agent | "$cache/bin/testlog" -figures "$figures.tensorflow-road" || failed=1

# emulated: the worker for arm64, linked, and started as far as its first line: libraries loaded, flags read.
emulated() {
	local out=$root/build/out/tensorflow-arm64 said
	build/tensorflow.sh "$out" arm64 || return 1
	said=$(TF_CPP_MIN_LOG_LEVEL=3 "$(build/qemu.sh)" -L /usr/aarch64-linux-gnu "$out/edge-infer-tf" 2>&1) || true
	[[ $said == *"started by edge-agent itself"* ]] || { say "$said" && return 1; }
	echo "tensorflow_arm64_starts_emulated: yes" >>"$figures.tensorflow"
}
# packaged: the Debian package, unpacked; the agent finds the worker where it lies, and that its libraries.
packaged() {
	local out=$root/build/out/tensorflow-deb here
	rm -rf "$out"
	build/tensorflow-deb.sh "$out" || return 1
	dpkg-deb -x "$out"/*.deb "$out/root"
	here=$out/root/usr/lib/edge-agent
	cp bin/edge-agent bin/edge-agent-capture bin/libLiteRt.so "$here"
	# Their build ids must be the package's.
	"$here/edge-agent" classify --top 1 --model "$cache/original/manifest.yaml" models/efficientnet_lite0/golden.png || return 1
	echo "size_tensorflow_deb_mb: $(du -m "$out"/*.deb | cut -f1)" >>"$figures.tensorflow"
	rm -rf "$out"
}
if [ "${1:-}" != short ]; then
	packaged || failed=1
fi
if [ "${1:-}" != short ] && [ "$(this_arch)" = amd64 ]; then
	build/setup.sh cross
	emulated || failed=1
fi

printf '\n== figures\n'
echo "size_edge_infer_tf_mb: $(($(du -scLm bin/edge-infer-tf bin/tensorflow | tail -n 1 | cut -f1)))"
cat "$figures.tensorflow" "$figures.tensorflow-road"
exit $failed
