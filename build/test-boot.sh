#!/usr/bin/env bash
# Boots the unit for real: systemd as PID 1 in namespaces of its own, over this machine's /usr (which it cannot
# write), with the agent of bin/ where the package puts it. What is checked is in build/boot/inside.sh. Needs root;
# leaves nothing behind. The figures last.
#
#   build/test-boot.sh [SECTION]...     default: all of build/boot/inside.sh

. "$(dirname "$0")/lib.sh"

cd "$root"
export PATH=$PATH:/usr/sbin
absent() {
	say "not checked: the boot of the unit: $*"
	exit 0
}
[ "$(id -u)" = 0 ] || absent "it needs root"
[ -x /lib/systemd/systemd ] || absent "no systemd here: install the package systemd"
command -v mosquitto_sub >/dev/null || absent "no mosquitto_sub here: build/setup.sh test"
grep -q overlay /proc/filesystems || absent "this kernel has no overlayfs"
cgroups=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)
[ -n "$cgroups" ] || absent "no cgroup2 is mounted"
namespaces=(--pid --mount --fork --uts --ipc --net --cgroup --kill-child)
unshare "${namespaces[@]}" sh -c 'mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mount -t cgroup2 cgroup2 /mnt' 2>/dev/null ||
	absent "this machine allows no namespaces with mounts, as in many containers"
for binary in edge-agent edge-agent-capture libLiteRt.so; do
	[ -e "bin/$binary" ] || die "no bin/$binary: run make build"
done

place=$(mktemp -d)
group=$cgroups/edge-agent-boot-$$
clean() {
	rm -rf --one-file-system "$place"
	local tries
	for tries in 1 2 3 4 5 6 7 8 9; do # the kernel takes a moment to let the last process go
		[ -d "$group" ] || break
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.3
	done
}
trap clean EXIT

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
cp build/boot/inside.sh "$debian/opt/boot/"
echo "$*" | sed '/^$/d' >"$debian/opt/boot/sections"
# The journal, which needs more than is here, is a file.
cat >"$debian/etc/systemd/system/test.service" <<'END'
[Unit]
DefaultDependencies=no
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash /opt/boot/inside.sh
StandardOutput=append:/opt/boot/log
StandardError=append:/opt/boot/log
END
cat >"$debian/etc/systemd/system/test.target" <<'END'
[Unit]
Wants=test.service
AllowIsolate=yes
END
mkdir "$debian/etc/systemd/system/edge-agent.service.d"
printf '[Service]\nStandardOutput=append:/opt/boot/agent.log\nStandardError=append:/opt/boot/agent.log\nWatchdogSec=%s\n' \
	"${WATCHDOG:-4}" >"$debian/etc/systemd/system/edge-agent.service.d/test.conf"
# Of a whole boot only what the unit depends on; these have nothing to do here.
for unit in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket systemd-journal-flush.service \
	systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-sysusers.service systemd-sysctl.service \
	systemd-random-seed.service systemd-update-utmp.service systemd-binfmt.service systemd-modules-load.service \
	systemd-firstboot.service systemd-udevd.service systemd-udev-trigger.service dbus.socket systemd-machine-id-commit.service \
	proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount \
	sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount kmod-static-nodes.service systemd-ask-password-console.path \
	systemd-repart.service systemd-pcrphase.service systemd-pcrphase-sysinit.service timers.target; do
	ln -s /dev/null "$debian/etc/systemd/system/$unit"
done

mkdir "$group" 2>/dev/null || absent "no control group can be made below $cgroups"
(
	echo "$BASHPID" >"$group/cgroup.procs"
	exec unshare "${namespaces[@]}" bash -euc '
		debian=$1 upper=$2
		mount --make-rprivate /
		mount --bind "$debian" "$debian"
		mount -t overlay -o "lowerdir=$upper:/usr" overlay "$debian/usr"
		mount -t proc proc "$debian/proc"
		mount -t sysfs -o ro sysfs "$debian/sys"
		mount -t tmpfs tmpfs "$debian/sys/fs/cgroup"
		mount -t cgroup2 cgroup2 "$debian/sys/fs/cgroup"
		mount -t tmpfs -o mode=0755 tmpfs "$debian/run"
		mount -t tmpfs -o mode=1777 tmpfs "$debian/tmp"
		mount -t tmpfs -o mode=0755 tmpfs "$debian/dev"
		for node in null zero full random urandom tty kmsg; do
			touch "$debian/dev/$node"
			mount --bind "/dev/$node" "$debian/dev/$node"
		done
		mkdir "$debian/dev/shm"
		mount -t tmpfs -o mode=1777 tmpfs "$debian/dev/shm"
		# As in a container, systemd expects this to have been done; without, credentials never reach the unit.
		mount --make-rshared /
		cd "$debian"
		exec chroot . /usr/bin/env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_LOG_TARGET=console \
			/lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
	' boot "$debian" "$upper"
) >"$place/console" 2>&1 &
boot=$!
# Nothing of the boot outlives this script, however it ends: with unshare goes its PID 1, and with that all.
trap 'kill -KILL $boot 2>/dev/null || true; wait; clean' EXIT
while kill -0 $boot 2>/dev/null; do
	if [ $SECONDS -gt "${BOOT_LIMIT:-300}" ]; then
		say "the boot hangs and is ended"
		kill -KILL $boot
	fi
	sleep 0.2
done
status=0
wait $boot || status=$?
if [ $status != 0 ]; then
	tail -n 40 "$place/console" "$debian/opt/boot/agent.log" 2>/dev/null >&2 || true
	cat "$debian/opt/boot/log" >&2 2>/dev/null || true
	die "the boot of the unit failed ($status)"
fi
grep -v '^figure: ' "$debian/opt/boot/log"
printf '\n== figures\n'
echo "boot_checks: $(grep -c '^✓' "$debian/opt/boot/log")"
sed -n 's/^figure: //p' "$debian/opt/boot/log"
