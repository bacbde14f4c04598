#!/usr/bin/env bash
# Boots the unit for real: systemd as PID 1 in namespaces of its own, over this machine's /usr (which it cannot
# write), with the agent of bin/ where the package puts it. What is checked is in build/boot/inside.sh. Needs root;
# leaves nothing behind. The figures last.
#
#   build/test-boot.sh [SECTION]...     default: all of build/boot/inside.sh

. "$(dirname "$0")/lib.sh"
. "$root/build/boot.sh"

cd "$root"
export PATH=$PATH:/usr/sbin
absent() {
	say "not checked: the boot of the unit: $*"
	exit 0
}
look_for_obstacle
[ -z "$obstacle" ] || absent "$obstacle"
[ -x /lib/systemd/systemd ] || absent "no systemd here: install the package systemd"
command -v mosquitto_sub >/dev/null || absent "no mosquitto_sub here: build/setup.sh test"
grep -q overlay /proc/filesystems || absent "this kernel has no overlayfs"
for binary in edge-agent edge-agent-capture libLiteRt.so; do
	[ -e "bin/$binary" ] || die "no bin/$binary: run make build"
done

place=$(mktemp -d)
trap 'end_boot; rm -rf --one-file-system "$place"' EXIT

# What the package installs, and what an administrator did.
upper=$place/upper debian=$place/debian
install -d "$upper"/{bin,lib/edge-agent,share/edge-agent/models/demo,lib/systemd/system}
install -m 0755 bin/edge-agent "$upper/bin/"
install -m 0755 bin/edge-agent-capture "$upper/lib/edge-agent/"
install -m 0644 bin/libLiteRt.so "$upper/lib/edge-agent/"
cp -r models/efficientnet_lite0 "$upper/share/edge-agent/models/"
cp models/demo/demo.mp4 "$upper/share/edge-agent/models/demo/"
cp systemd/edge-agent.service "$upper/lib/systemd/system/"

install -d "$debian"/{usr,etc/systemd/system,etc/edge-agent,proc,sys,dev,run,tmp,var/lib,var/cache,var/log,root,opt/boot}
install -d -m 0700 "$debian/etc/credstore"
for link in bin sbin lib lib64; do
	ln -s "usr/$link" "$debian/$link"
done
cp -a /etc/ld.so.cache /etc/alternatives "$debian/etc/"
cp config.yaml "$debian/etc/edge-agent/"
printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'messagebus:x:100:106::/:/bin/false' 'nobody:x:65534:65534::/:/bin/false' \
	'edge-agent:x:990:990::/var/lib/edge-agent:/usr/sbin/nologin' >"$debian/etc/passwd"
printf '%s\n' 'root:x:0:' 'tty:x:5:' 'video:x:44:edge-agent' 'plugdev:x:46:edge-agent' 'render:x:105:edge-agent' \
	'messagebus:x:106:' 'edge-agent:x:990:' 'nogroup:x:65534:' >"$debian/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$debian/etc/nsswitch.conf"
echo boot >"$debian/etc/hostname"
echo 0123456789abcdef0123456789abcdef >"$debian/etc/machine-id"
# The journal, which needs more than is here, is a file.
boot_masks="systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket systemd-journal-flush.service
	systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-sysusers.service dbus.socket"
prepare_boot "$debian" build/boot/inside.sh build/boot/helpers.sh
echo "$*" | sed '/^$/d' >"$debian/opt/boot/sections"
mkdir "$debian/etc/systemd/system/edge-agent.service.d"
printf '[Service]\nStandardOutput=append:/opt/boot/agent.log\nStandardError=append:/opt/boot/agent.log\nWatchdogSec=%s\n' \
	"${WATCHDOG:-4}" >"$debian/etc/systemd/system/edge-agent.service.d/test.conf"
status=0
boot "$debian" "$place/console" "$upper" || status=$?
if [ $status != 0 ]; then
	tail -n 40 "$place/console" "$debian/opt/boot/agent.log" 2>/dev/null >&2 || true
	cat "$debian/opt/boot/log" >&2 2>/dev/null || true
	die "the boot of the unit failed ($status)"
fi
grep -v '^figure: ' "$debian/opt/boot/log"
printf '\n== figures\n'
echo "boot_checks: $(grep -c '^✓' "$debian/opt/boot/log")"
sed -n 's/^figure: //p' "$debian/opt/boot/log"
