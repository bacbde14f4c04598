#!/usr/bin/env bash
# Installs, upgrades, removes and purges the packages for this machine's architecture in a clean Debian 12, which is
# booted for that with a systemd of its own as PID 1. What is checked is in build/boot/package.sh. Needs root; leaves
# nothing behind but the Debian in build/cache/roots. The figures last.
#
#   build/test-install.sh [FOLDER [short]]     FOLDER: with the packages; default: they are made. short: what `make test` has
#     time for, one boot

. "$(dirname "$0")/lib.sh"
. "$root/build/root.sh"
. "$root/build/boot.sh"

cd "$root"
absent() {
	say "not checked: the packages under systemd: $*"
	exit 0
}
look_for_obstacle
[ -z "$obstacle" ] || absent "$obstacle"
command -v mmdebstrap >/dev/null || absent "no mmdebstrap here: build/setup.sh test"

place=$(mktemp -d)
trap 'end_boot; rm -rf --one-file-system "$place"' EXIT
debian=$place/debian arch=$(this_arch)
tar=$(root_archive bookworm "$arch" "${installed_root[@]}") || die "the Debian could not be made"
unpack_root "$tar" "$debian"
rm "$debian/usr/sbin/policy-rc.d" # here services may start
echo board >"$debian/etc/hostname"
echo 0123456789abcdef0123456789abcdef >"$debian/etc/machine-id"

# Two versions of each package that an upgrade changes, the newer being the older under another number, and one that comes
# and goes.
folder=${1:-$place/debs}
if [ $# -eq 0 ]; then
	build/deb.sh "$folder" "$arch" edge-agent edge-agent-capture-406 edge-agent-data edge-agent-runtime
fi
mkdir -p "$debian"/opt/debs/{old,new,more}
changed=("$folder"/edge-agent{,-capture-406}_*_"$arch.deb" "$folder"/edge-agent-data_*.deb)
version=$(dpkg-deb -f "${changed[0]}" Version)
cp "${changed[@]}" "$folder"/edge-agent-runtime_*_"$arch.deb" "$debian/opt/debs/old/"
cp "$folder"/edge-agent-runtime-gpu_*_"$arch.deb" "$debian/opt/debs/more/" 2>/dev/null || true # the short form does without
for deb in "${changed[@]}"; do
	rm -rf "$place/newer"
	dpkg-deb -R "$deb" "$place/newer"
	sed -i "s/\(^Version: \|= \)${version//./\\.}\(\$\|)\)/\1$version+1\2/g" "$place/newer/DEBIAN/control"
	quietly dpkg-deb --root-owner-group -Zgzip -z1 -b "$place/newer" "$debian/opt/debs/new/"
done

boot_wants=multi-user.target
prepare_boot "$debian" build/boot/package.sh build/boot/helpers.sh
boots=(install reboot)
if [ "${2:-}" = short ]; then
	boots=(install)
	touch "$debian/opt/boot/short"
fi
for name in "${boots[@]}"; do
	status=0
	boot "$debian" "$place/console" || status=$?
	if [ $status != 0 ]; then
		tail -n 40 "$place/console" "$debian/opt/boot/dpkg.log" >&2 || true
		cat "$debian/opt/boot/log" >&2 || true
		die "the packages under systemd: the boot '$name' failed ($status)"
	fi
done
grep -v '^figure: ' "$debian/opt/boot/log"
printf '\n== figures\n'
echo "install_checks: $(grep -c '^✓' "$debian/opt/boot/log")"
sed -n 's/^figure: //p' "$debian/opt/boot/log"
