#!/usr/bin/env bash
# Installs the packages in minimal Debians, by the three lines of the README: amd64 as it is, arm64 under qemu. There
# classify must give the same labels; remove and purge must leave what they should. No systemd runs in these roots:
# what the service does is tested by build/test-boot.sh. Needs root. The figures last.
#
#   build/test-board.sh [FOLDER [SUITE-ARCH...]]
#     FOLDER: what `make release` made (default: it is made); default of the rest: all three

. "$(dirname "$0")/lib.sh"
. "$root/build/root.sh"

[ "$(id -u)" = 0 ] || die "a chroot needs root: sudo make test-board"
"$root/build/setup.sh" board
folder=${1:-$root/build/out/release}
if [ $# -eq 0 ]; then
	"$root/build/release-all.sh" "$folder"
fi
shift || true
[ $# -gt 0 ] || set -- bookworm-amd64 bookworm-arm64 trixie-arm64

place=$(mktemp -d)
trap 'rm -rf --one-file-system "$place"' EXIT
figures=()
failed=0

# ok WHAT COMMAND...: one check.
ok() {
	local what=$1
	shift
	if "$@"; then
		say "✓ $name: $what"
	else
		say "✗ $name: $what"
		failed=1
	fi
}

# opencv SUITE: the libraries that the root has from the start, so that only our packages are measured.
opencv() {
	local number=406 module
	[ "$1" = bookworm ] || number=410
	for module in core imgproc imgcodecs videoio; do
		echo "libopencv-$module$number"
	done
}

# readme_lines: what the README says to type.
readme_lines() {
	sed -n '/^<!-- install: begin/,/^<!-- install: end/p' "$root/README.md" | grep -vE '^(<!--|```)' |
		sed -e 's/sudo //g' -e 's/apt-get install/apt-get install --yes/'
}

files() {
	(cd "$debian" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./srv -o -path ./tmp \) -prune -o -print |
		grep -i 'edge-agent\|edge_agent' | LC_ALL=C sort)
}

# check SUITE-ARCH
check() {
	local name=$1 suite=${1%-*} arch=${1#*-} debian=$place/$1 tar since
	# shellcheck disable=SC2046 # one word a package
	tar=$(root_archive "$suite" "$arch" $(opencv "$suite")) || die "the root $name could not be made"
	unpack_root "$tar" "$debian"
	mkdir -p "$debian/srv/edge-agent"
	cp "$folder"/* "$debian/srv/edge-agent/"
	readme_lines >"$debian/opt/install.sh"
	since=$SECONDS
	ok "the README's lines install it" quietly in_root "$debian" "$arch" bash -e /opt/install.sh
	figures+=("board_install_${name//-/_}_s: $((SECONDS - since))")
	ok "the config as installed is valid" quietly in_root "$debian" "$arch" edge-agent validate -c /etc/edge-agent/config.yaml
	ok "the user is in the group video" quietly in_root "$debian" "$arch" sh -c 'id -nG edge-agent | grep -qw video'
	cp "$root/models/efficientnet_lite0/golden.png" "$debian/opt/"
	since=$SECONDS
	in_root "$debian" "$arch" timeout 300 edge-agent classify --top 3 --json /opt/golden.png >"$place/$name.json" 2>"$place/$name.err" || cat "$place/$name.err" >&2
	figures+=("board_classify_${name//-/_}_s: $((SECONDS - since))")
	ok "classify answers" test -s "$place/$name.json"
	# The labels' order and names; scores differ a little between architectures.
	grep -oE '"(label|name)":"[^"]*"' "$place/$name.json" >"$place/$name.labels" || true
	ok "it gives labels: $(tr '\n' ' ' <"$place/$name.labels")" test -s "$place/$name.labels"
	first=${first:-$place/$name.labels}
	ok "the same as in the first root" cmp -s "$place/$name.labels" "$first"
	ok "remove" quietly in_root "$debian" "$arch" apt-get --yes remove edge-agent
	ok "remove keeps the config" test -f "$debian/etc/edge-agent/config.yaml"
	ok "remove takes the program" test ! -e "$debian/usr/bin/edge-agent"
	mkdir -p "$debian/var/lib/edge-agent" # as the service would have
	ok "purge" quietly in_root "$debian" "$arch" sh -c 'apt-get --yes purge "edge-agent*"'
	files | grep -vE '^\./(usr/share/keyrings/edge-agent\.gpg|etc/apt/sources\.list\.d/edge-agent\.list|var/lib/apt/lists/.*)$' >"$place/$name.left" || true
	ok "purge leaves nothing: $(tr '\n' ' ' <"$place/$name.left")" test ! -s "$place/$name.left"
}

for name in "$@"; do
	check "$name"
	rm -rf --one-file-system "${place:?}/$name"
done
printf '\n== figures\n'
echo "board_deb_agent_bytes: $(stat -c %s "$folder"/edge-agent_*_amd64.deb | head -n 1)"
printf '%s\n' "${figures[@]}"
exit $failed
