#!/usr/bin/env bash
# Makes one of the repository's generated parts, or a network, in the zoo's own pinned Python environment, which it
# sets up first (build/cache/venv-zoo, about 1.3 GB).
#
#   zoo/make.sh model|clip|references|answers|small
#   zoo/make.sh original           the default model before it was quantized, into build/cache/zoo
#   zoo/make.sh decoding           what decoding a detector's answer costs in numpy and OpenCV
#   zoo/make.sh net ARCH...        a quantized network: see docs/zoo.md
#   zoo/make.sh tour               docs/tour.md, from the networks that were made
#   zoo/make.sh study [ARCH...]    why float and int8 disagree: docs/zoo-int8.md; `study scores` and
#                                  `study loudness` write its other tables
#   zoo/make.sh verify [ARCH...]   the networks against other people's, in PyTorch (build/cache/venv-verify, 7 GB)
#   zoo/make.sh test [ARGUMENT...] the Python tests

. "$(dirname "$0")/../build/lib.sh"
cd "$root"

python=${PYTHON:-python3}

command -v "$python" >/dev/null || die "$python is missing: apt-get install python3 python3-venv"
# The lock names wheels, and TensorFlow has none for arm64 under this name.
platform=$("$python" -c 'import platform, sys; print(platform.machine(), "%d.%d" % sys.version_info[:2])')
[ "$platform" = "x86_64 3.11" ] || die "the zoo's packages are locked for x86_64 and Python 3.11 (Debian 12); this is $platform"

# environment FOLDER LOCK: a virtual environment with just the packages of LOCK. The copy of the lock is laid down
# last, so an environment that is broken or outdated is made anew.
environment() {
	local venv=$1 lock=$2
	if ! cmp -s "$lock" "$venv/.lock"; then
		say "installing the Python packages of $lock"
		rm -rf "$venv"
		"$python" -m venv "$venv" || die "no virtual environment could be made: apt-get install python3-venv"
		retry "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock" ||
			die "the packages of $lock could not be installed: check the network and try again"
		cp "$lock" "$venv/.lock"
	fi
}

environment "$cache/venv-zoo" zoo/requirements.txt
if [ "${1:-}" = verify ]; then
	environment "$cache/venv-verify" zoo/verify/requirements.txt
fi

# TensorFlow: errors only, and no search for a GPU.
export PYTHONDONTWRITEBYTECODE=1 TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES= MPLBACKEND=Agg
if [ "${1:-}" = test ]; then
	shift
	[ $# -gt 0 ] || set -- discover -s zoo/tests -t .
	exec "$cache/venv-zoo/bin/python" -m unittest "$@"
fi
exec "$cache/venv-zoo/bin/python" -m zoo "$@"
