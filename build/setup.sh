#!/usr/bin/env bash
# Installs by apt the system packages that are missing, as root or through sudo; silent when none is.
#
#   build/setup.sh run      what building and running needs
#   build/setup.sh test     that, and what the tests and the cross build need
#   build/setup.sh cross    what `make arm64`, `make amd64` and `make deb` need
#   build/setup.sh release  what `make release` needs
#   build/setup.sh board    what `make test-board` needs
#   build/setup.sh dashboards  what `make test-dashboards` needs
#   build/setup.sh cameras  what `make test-cameras` needs (an RTSP server; 28 MB, a minute)
#   build/setup.sh tensorflow  what `make tensorflow` needs
#   build/setup.sh publish  what `make test-publish` needs
#   build/setup.sh bench    what `make bench` needs
#   build/setup.sh zoo      what `make test-zoo` needs
#   build/setup.sh fresh    what `make fresh-check` needs

. "$(dirname "$0")/lib.sh"

opencv=(libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev libopencv-videoio-dev)
run=(g++ gcc libc6-dev pkg-config python3 python3-pip ca-certificates mosquitto-clients libturbojpeg0 "${opencv[@]}")
test=("${run[@]}" mosquitto strace brotli libvulkan1 systemd procps tmux python3-venv)
test+=(dbus-daemon mmdebstrap apt-utils gpg gpg-agent gpgv)
cross=(g++ gcc libc6-dev pkg-config python3 python3-pip ca-certificates)
tensorflow=("${run[@]}" protobuf-compiler libprotobuf-dev)
bench=("${run[@]}" mosquitto python3-venv)
publish=("${test[@]}" python3-venv)
command -v npm >/dev/null || publish+=(nodejs npm)
if [ "$(this_arch)" = amd64 ]; then
	test+=(g++-aarch64-linux-gnu libc6-dev-arm64-cross)
	cross+=(g++-aarch64-linux-gnu libc6-dev-arm64-cross)
fi
release=("${cross[@]}" apt-utils gpg gpg-agent)
board=("${release[@]}" "${test[@]}" lintian dpkg-dev)
dashboards=("${run[@]}" mosquitto python3-venv chromium prometheus procps curl tmux)
command -v node >/dev/null || dashboards+=(nodejs)
command -v npm >/dev/null || dashboards+=(npm)

cameras=("${test[@]}" python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-libav
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly)

case ${1:-test} in
run) wanted=("${run[@]}") ;;
test) wanted=("${test[@]}") ;;
cross) wanted=("${cross[@]}") ;;
release) wanted=("${release[@]}") ;;
board) wanted=("${board[@]}") ;;
dashboards) wanted=("${dashboards[@]}") ;;
cameras) wanted=("${cameras[@]}") ;;
tensorflow) wanted=("${tensorflow[@]}") ;;
publish) wanted=("${publish[@]}") ;;
bench) wanted=("${bench[@]}") ;;
zoo) wanted=("${run[@]}" python3-venv chromium) ;;
fresh) wanted=(mmdebstrap) ;;
*) die "usage: setup.sh run|test|cross|release|board|dashboards|cameras|tensorflow|publish|bench|zoo|fresh" ;;
esac

command -v dpkg-query >/dev/null || die "this is not a Debian; install by hand what stands for: ${wanted[*]}"

missing=()
for package in "${wanted[@]}"; do
	if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
		missing+=("$package")
	fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || die "as root, run: apt-get install --no-install-recommends ${missing[*]}"
	say "sudo is used to install packages:"
	# sudo drops the environment, and with it the way to a proxy.
	as_root=(sudo env "http_proxy=${http_proxy:-}" "https_proxy=${https_proxy:-}" "no_proxy=${no_proxy:-}")
fi

apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq \
		-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# Installing a broker must not start one on this machine's port 1883, now or at the next boot.
policy=/usr/sbin/policy-rc.d
installs_mosquitto=no
if [[ " ${missing[*]} " == *" mosquitto "* ]]; then
	installs_mosquitto=yes
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
		"${as_root[@]}" chmod 0755 $policy
		trap '"${as_root[@]}" rm -f $policy' EXIT
	fi
fi

say "installing ${missing[*]}"
log=$(mktemp)
retry apt update >"$log" 2>&1 || say "the package lists could not be refreshed; trying with the old ones"
if ! retry apt install --yes --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	die "apt-get could not install: ${missing[*]}"
fi
rm -f "$log"

if [ $installs_mosquitto = yes ]; then
	"${as_root[@]}" update-rc.d mosquitto disable >/dev/null
	if command -v systemctl >/dev/null; then
		"${as_root[@]}" systemctl --quiet disable mosquitto >/dev/null 2>&1 || true
	fi
	say "mosquitto is here for the tests only; its service is left disabled (systemctl enable --now mosquitto starts it)"
fi
