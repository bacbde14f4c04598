#!/usr/bin/env bash
# Builds edge-infer-tf, the worker that runs SavedModels by TensorFlow for Go, into OUT, with TensorFlow's own libraries in
# OUT/tensorflow. They come out of PyPI's wheel, by pip, checked by sha256; what the Go binding lacks (the messages of
# its protocol buffers) is generated from the .proto files of its own module.
#
#   build/tensorflow.sh [OUT [ARCH]]     default: bin, for this machine

. "$(dirname "$0")/lib.sh"

out=$(realpath -m "${1:-$root/bin}")
arch=${2:-$(this_arch)}
version=2.19.1                # of the libraries: the one that the zoo converts with
binding=2.11.0                # of the Go module: its last release
generator=v1.36.11            # of protoc-gen-go, and of google.golang.org/protobuf in infer/savedmodel/go.mod
case $arch in
amd64)
	package=tensorflow_cpu platform=manylinux_2_17_x86_64 others=()
	wheel_sum=0b6d72bd09c267e7573757bd309f5b1e2cdb02577339991da751f3a1411e4dae
	;;
arm64)
	package=tensorflow platform=manylinux_2_17_aarch64 others=(libomp-f1025659.so.5)
	wheel_sum=22deedc251837f2382d2b287c705705cb089bfaf79b2274b78c08740e02bf188
	;;
*) die "TensorFlow has no library for $arch; amd64 and arm64 it has" ;;
esac
libraries=$cache/tensorflow/$version-$arch
messages=$cache/tensorflow/messages-$binding

# fetch: libraries and C headers out of the wheel. The wheel itself is not kept.
fetch() {
	[ ! -f "$libraries/.whole" ] || return 0
	python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: run 'make setup'"
	say "fetching TensorFlow $version for $arch: 250 MB, which become 750 to 900 MB of libraries"
	retry python3 -m pip --quiet --disable-pip-version-check download --no-deps --only-binary=:all: \
		--python-version 3.11 --implementation cp --platform "$platform" --dest "$work" "$package==$version" ||
		die "TensorFlow could not be fetched from PyPI: check the network and run 'make tensorflow' again"
	wheel=$(echo "$work"/tensorflow*.whl)
	has_sha256 "$wheel" "$wheel_sum" || die "$(basename "$wheel") is not the pinned file (sha256 $wheel_sum)"
	rm -rf "$libraries"
	mkdir -p "$libraries"
	python3 - "$wheel" "$libraries" <<'PYTHON'
import os, shutil, sys, zipfile
wheel, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        folder, _, file = name.rpartition("/")
        if name.endswith("/"):
            continue
        if folder == "tensorflow" and file.startswith("libtensorflow_") or folder == "tensorflow.libs":
            target = file
        elif name.startswith(("tensorflow/include/tensorflow/c/", "tensorflow/include/xla/tsl/c/", "tensorflow/include/tsl/")) and name.endswith(".h"):
            target = name.removeprefix("tensorflow/")
        elif name in ("tensorflow/THIRD_PARTY_NOTICES.txt", "tensorflow/include/LICENSE"):
            target = file
        else:
            continue
        path = os.path.join(out, target)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with z.open(name) as source, open(path, "wb") as f:
            shutil.copyfileobj(source, f)
PYTHON
	# The binding links with -ltensorflow, as the C library is called where it comes alone.
	ln -sf libtensorflow_cc.so.2 "$libraries/libtensorflow.so"
	ln -sf libtensorflow_framework.so.2 "$libraries/libtensorflow_framework.so"
	touch "$libraries/.whole"
}

# generate: Go packages of the messages that the binding imports, as a module of its own.
generate() {
	[ ! -f "$messages/go.mod" ] || return 0
	command -v protoc >/dev/null || die "protoc is missing: run 'build/setup.sh tensorflow'"
	local module=github.com/tensorflow/tensorflow tools=$work/tools source
	(cd "$root/infer/savedmodel" && GOFLAGS=-mod=mod go mod download "$module@v$binding+incompatible") ||
		die "the Go module $module could not be fetched: check the network and run 'make tensorflow' again"
	source=$(cd "$root/infer/savedmodel" && go env GOMODCACHE)/$module@v$binding+incompatible
	GOFLAGS='' GOBIN=$tools retry go install "google.golang.org/protobuf/cmd/protoc-gen-go@$generator" ||
		die "protoc-gen-go could not be built"
	mapfile -t files < <(python3 - "$source" <<'PYTHON'
# The messages that the binding imports, and all that those import.
import pathlib, re, sys
root = pathlib.Path(sys.argv[1])
todo = ["tensorflow/core/protobuf/saved_model.proto", "tensorflow/core/protobuf/config.proto"]
seen = set()
while todo:
    name = todo.pop()
    if name not in seen and not name.startswith("google/"):
        seen.add(name)
        todo += re.findall(r'^import\s+(?:public\s+)?"([^"]+)"', (root / name).read_text(), re.M)
print("\n".join(sorted(seen)))
PYTHON
	)
	mkdir "$work/messages"
	PATH=$tools:$PATH protoc -I "$source" --go_out="$work/messages" --go_opt="module=$module/tensorflow/go/core" "${files[@]}" ||
		die "the messages could not be generated"
	cat >"$work/messages/go.mod" <<-MOD
		module $module/tensorflow/go/core

		go 1.23

		require google.golang.org/protobuf $generator
	MOD
	rm -rf "$messages"
	mkdir -p "$(dirname "$messages")"
	mv "$work/messages" "$messages"
}

# settings: how the module is built; `build/tensorflow.sh env` prints them for a shell of one's own.
settings() {
	export CGO_ENABLED=1 GOFLAGS="-buildvcs=false"
	export CGO_CFLAGS="-I$libraries/include -O2" CGO_LDFLAGS="-L$libraries -ltensorflow_framework -Wl,--allow-shlib-undefined"
	export CGO_LDFLAGS="$CGO_LDFLAGS -Wl,-rpath,\$ORIGIN/tensorflow -Wl,-rpath,/usr/lib/edge-agent/tensorflow -Wl,-rpath-link,$libraries"
	if [ "$arch" = arm64 ] && [ "$(this_arch)" = amd64 ]; then
		export GOARCH=arm64 CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++
	fi
}

build() {
	local version commit
	read -r version commit < <("$root/build/version.sh")
	settings
	mkdir -p "$out/tensorflow"
	(cd "$root/infer/savedmodel" && go build -trimpath \
		-ldflags "-X edgeagent/internal/build.Version=$version -X edgeagent/internal/build.Commit=$commit" \
		-o "$out/edge-infer-tf" ./edge-infer-tf)
	local library
	for library in libtensorflow_cc.so.2 libtensorflow_framework.so.2 "${others[@]}"; do
		# Of one file system they are one file: 750 MB need not be there twice.
		[ "$libraries/$library" -ef "$out/tensorflow/$library" ] ||
			ln -f "$libraries/$library" "$out/tensorflow/$library" 2>/dev/null || cp "$libraries/$library" "$out/tensorflow/$library"
	done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch
generate
if [ "${1:-}" = env ]; then
	settings
	for name in CGO_ENABLED GOFLAGS CGO_CFLAGS CGO_LDFLAGS; do
		printf 'export %s=%q\n' $name "${!name}"
	done
	exit 0
fi
build
say "edge-infer-tf $(du -shc "$out/edge-infer-tf" "$out/tensorflow" | tail -n 1 | cut -f1) in $out: a model with 'engine: savedmodel' runs in it, with 300 MB of memory and more"
