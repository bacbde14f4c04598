# Boots a systemd as PID 1 in a Debian root, in namespaces of its own: for the tests of the unit and of the packages.
# Sourced, never run; after lib.sh. Needs root.

# What the mounts and processes of a boot are kept in.
namespaces=(--pid --mount --fork --uts --ipc --net --cgroup --kill-child)

# look_for_obstacle: sets $obstacle to why this machine cannot do it, in words, or to nothing where it can; and $cgroups.
look_for_obstacle() {
	obstacle=
	cgroups=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)
	if [ "$(id -u)" != 0 ]; then
		obstacle="it needs root"
	elif [ -z "$cgroups" ]; then
		obstacle="no cgroup2 is mounted"
	elif ! unshare "${namespaces[@]}" sh -c 'mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mount -t cgroup2 cgroup2 /mnt' 2>/dev/null; then
		obstacle="this machine allows no namespaces with mounts, as in many containers"
	fi
}

# prepare_boot ROOT SCRIPT...: puts the scripts into /opt/boot, the first of which the boot runs when its target is
# reached, into /opt/boot/log, and which ends the boot by `systemctl exit`. Units that have nothing to do here are masked.
prepare_boot() {
	local debian=$1 unit
	shift
	install -d "$debian/opt/boot" "$debian/etc/systemd/system"
	cp "$@" "$debian/opt/boot/"
	cat >"$debian/etc/systemd/system/test.service" <<-END
		[Unit]
		DefaultDependencies=no
		After=basic.target multi-user.target
		[Service]
		Type=oneshot
		ExecStart=/bin/bash /opt/boot/$(basename "$1")
		StandardOutput=append:/opt/boot/log
		StandardError=append:/opt/boot/log
	END
	cat >"$debian/etc/systemd/system/test.target" <<-END
		[Unit]
		Wants=test.service ${boot_wants:-}
		AllowIsolate=yes
	END
	for unit in systemd-sysctl.service systemd-random-seed.service systemd-update-utmp.service systemd-binfmt.service \
		systemd-modules-load.service systemd-firstboot.service systemd-udevd.service systemd-udev-trigger.service \
		systemd-machine-id-commit.service proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount \
		sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount \
		kmod-static-nodes.service systemd-ask-password-console.path systemd-repart.service systemd-pcrphase.service \
		systemd-pcrphase-sysinit.service timers.target ${boot_masks:-}; do
		ln -sf /dev/null "$debian/etc/systemd/system/$unit"
	done
}

# boot ROOT CONSOLE [UPPER]: boots and gives the exit code of the boot; what PID 1 says goes into the file CONSOLE. With
# UPPER the root's /usr is this machine's, which nothing can write, with the folder UPPER laid over it.
boot() {
	local debian=$1 console=$2 upper=${3:-} status=0 began=$SECONDS tries
	boot_group=$cgroups/edge-agent-boot-$$
	mkdir "$boot_group" || return
	(
		echo "$BASHPID" >"$boot_group/cgroup.procs"
		exec unshare "${namespaces[@]}" bash -euc '
			debian=$1 upper=$2
			mount --make-rprivate /
			mount --bind "$debian" "$debian"
			[ -z "$upper" ] || mount -t overlay -o "lowerdir=$upper:/usr" overlay "$debian/usr"
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
	) >"$console" 2>&1 &
	boot_pid=$!
	while kill -0 $boot_pid 2>/dev/null; do
		if [ $((SECONDS - began)) -gt "${BOOT_LIMIT:-300}" ]; then
			say "the boot hangs and is ended"
			kill -KILL $boot_pid
		fi
		sleep 0.2
	done
	wait $boot_pid || status=$?
	end_boot
	return $status
}

# end_boot: nothing of a boot outlives its script, however that ends: with unshare goes PID 1, and with that all.
end_boot() {
	local tries
	if [ -n "${boot_pid:-}" ]; then
		kill -KILL "$boot_pid" 2>/dev/null || true
		wait "$boot_pid" 2>/dev/null || true
		boot_pid=
	fi
	for tries in 1 2 3 4 5 6 7 8 9; do # the kernel takes a moment to let the last process go
		[ -d "${boot_group:-}" ] || break
		find "$boot_group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.3
	done
}
