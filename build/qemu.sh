#!/usr/bin/env bash
# Fetches a qemu-user that runs arm64 programs into build/cache/qemu, by apt with private lists; nothing is installed.
# It must be 10 or newer (Debian 12 has that in backports): 7.2 crashes in LiteRT 2.3.
#
#   build/qemu.sh      prints the path of qemu-aarch64

. "$(dirname "$0")/lib.sh"

qemu=$cache/qemu/qemu-aarch64
if [ ! -x "$qemu" ]; then
	place=$(mktemp -d)
	trap 'rm -rf "$place"' EXIT
	mkdir -p "$place/lists/partial" "$place/cache/archives/partial" "$place/debs" "$place/root"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) bookworm-backports main" >"$place/sources.list"
	options=(-qq -o Acquire::Retries=3 -o APT::Sandbox::User=root
		-o "APT::Architecture=$(this_arch)" -o "APT::Architectures=$(this_arch)"
		-o "Dir::State::Lists=$place/lists" -o "Dir::Cache=$place/cache" -o Dir::State::status=/dev/null
		-o "Dir::Etc::SourceList=$place/sources.list" -o Dir::Etc::SourceParts=/dev/null)
	say "fetching qemu-user of bookworm-backports"
	retry apt-get "${options[@]}" update || die "the package lists of bookworm-backports could not be fetched"
	(cd "$place/debs" && retry apt-get "${options[@]}" download qemu-user) ||
		die "qemu-user of bookworm-backports could not be fetched"
	dpkg-deb -x "$place"/debs/qemu-user_*.deb "$place/root"
	mkdir -p "$cache/qemu"
	install -m 0755 "$place/root/usr/bin/qemu-aarch64" "$qemu.new"
	mv "$qemu.new" "$qemu"
fi
echo "$qemu"
