#!/usr/bin/env bash
# Makes one of the repository's generated parts in the zoo's own pinned Python environment, which it sets
# up first (build/cache/venv-zoo, about 1.3 GB).
#
#   zoo/make.sh model|clip|references|answers|…

. "$(dirname "$0")/../build/lib.sh"
cd "$root"

venv=$cache/venv-zoo
lock=zoo/requirements.txt
python=${PYTHON:-python3}

command -v "$python" >/dev/null || die "$python is missing: apt-get install python3 python3-venv"
# The lock names wheels, and TensorFlow has none for arm64 under this name.
platform=$("$python" -c 'import platform, sys; print(platform.machine(), "%d.%d" % sys.version_info[:2])')
[ "$platform" = "x86_64 3.11" ] || die "the zoo's packages are locked for x86_64 and Python 3.11 (Debian 12); this is $platform"

# The copy of the lock is laid down last, so an environment that is broken or outdated is made anew.
if ! cmp -s "$lock" "$venv/.lock"; then
	say "installing the Python packages of $lock"
	rm -rf "$venv"
	"$python" -m venv "$venv" || die "no virtual environment could be made: apt-get install python3-venv"
	retry "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock" ||
		die "the packages of $lock could not be installed: check the network and try again"
	cp "$lock" "$venv/.lock"
fi

# TensorFlow: errors only, and no search for a GPU.
export PYTHONDONTWRITEBYTECODE=1 TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
exec "$venv/bin/python" -m zoo "$@"
