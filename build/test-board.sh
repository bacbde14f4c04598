#!/usr/bin/env bash
# All that is shown of the way onto a board: what `make release` makes (build/test-release.sh), the unit booted
# (build/test-boot.sh), the packages under systemd (build/test-install.sh), and here: minimal Debians, Debian 12 and 13,
# amd64 as they are and arm64 under qemu, in which the README's three lines install them. There classify must give the
# same labels everywhere, init write a config that runs, doctor find nothing broken. Needs root. The figures last.
#
#   build/test-board.sh [FOLDER [CHECK...]]
#     FOLDER: what `make release` made (default: it is made); CHECK: release, boot, install, or a Debian as bookworm-amd64,
#     trixie-amd64, bookworm-arm64, trixie-arm64; default: all

. "$(dirname "$0")/lib.sh"
. "$root/build/root.sh"

[ "$(id -u)" = 0 ] || die "a chroot needs root: sudo make test-board"
"$root/build/setup.sh" board
folder=${1:-$root/build/out/release}
if [ $# -eq 0 ]; then
	"$root/build/release-all.sh" "$folder"
fi
shift || true
[ $# -gt 0 ] || set -- release boot install bookworm-amd64 trixie-amd64 bookworm-arm64 trixie-arm64

place=$(mktemp -d)
trap 'rm -rf --one-file-system "$place"' EXIT
figures=()
failed=0

# readme_lines: what the README says to type.
readme_lines() {
	sed -n '/^<!-- install: begin/,/^<!-- install: end/p' "$root/README.md" | grep -vE '^(<!--|```)' |
		sed -e 's/sudo //g' -e 's/apt-get install/apt-get install --yes/'
}

files() {
	(cd "$debian" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./srv -o -path ./tmp \) -prune -o -print |
		grep -i 'edge-agent\|edge_agent' | LC_ALL=C sort)
}

# packages SUITE-ARCH: what its Debian has from the start.
packages() {
	case $1 in
	"bookworm-$(this_arch)") printf '%s\n' "${installed_root[@]}" ;; # the same as build/test-install.sh's
	bookworm-*) opencv_packages 406 ;;
	*) opencv_packages 410 ;;
	esac
}

# check SUITE-ARCH
check() {
	local name=$1 suite=${1%-*} arch=${1#*-} debian=$place/$1 tar since obstacle
	obstacle=$(emulation_obstacle "$arch")
	if [ -n "$obstacle" ]; then
		say "not checked: $name: $obstacle"
		return
	fi
	# shellcheck disable=SC2046 # one word a package
	tar=$(root_archive "$suite" "$arch" $(packages "$1")) || die "the root $name could not be made"
	unpack_root "$tar" "$debian"
	inside() { quietly in_root "$debian" "$arch" timeout 600 "$@"; }
	mkdir -p "$debian/srv/edge-agent"
	cp "$folder"/* "$debian/srv/edge-agent/"
	readme_lines >"$debian/opt/install.sh"
	since=$SECONDS
	ok "the README's lines install it" inside bash -e /opt/install.sh
	figures+=("board_install_${name//-/_}_s: $((SECONDS - since))")
	ok "the capture worker is the one for this OpenCV" inside dpkg-query -W "edge-agent-capture-$([ "$suite" = bookworm ] && echo 406 || echo 410)"
	ok "the config as installed is valid" inside edge-agent validate -c /etc/edge-agent/config.yaml
	ok "the user is in the group video" inside sh -c 'id -nG edge-agent | grep -qw video'
	labels
	ok "doctor finds nothing broken" inside edge-agent doctor
	in_root "$debian" "$arch" edge-agent doctor --json >"$place/doctor.json" 2>/dev/null || true
	ok "doctor tells the architecture" grep -q "\"arch\": \"$arch\"" "$place/doctor.json"
	ok "init --yes writes a config and it runs" inside sh -c 'edge-agent init --yes --force -c /opt/board.yaml >/opt/init.txt && grep "tried: *it runs" /opt/init.txt'
	ok "which is valid" inside edge-agent validate -c /opt/board.yaml
	[ "$arch" = "$(this_arch)" ] || old_core
	ok "remove" inside apt-get --yes remove edge-agent
	ok "remove keeps the config" test -f "$debian/etc/edge-agent/config.yaml"
	ok "remove takes the program" test ! -e "$debian/usr/bin/edge-agent"
	mkdir -p "$debian/var/lib/edge-agent" # as the service would have
	ok "purge" inside sh -c 'apt-get --yes purge "edge-agent*"'
	files | grep -vE '^\./(usr/share/keyrings/edge-agent\.gpg|etc/apt/sources\.list\.d/edge-agent\.list|var/lib/apt/lists/.*)$' >"$place/$name.left" || true
	ok "purge leaves nothing: $(tr '\n' ' ' <"$place/$name.left")" test ! -s "$place/$name.left"
	rm -rf --one-file-system "$debian"
}

# labels: classify in the Debian of check, against the first one's.
labels() {
	local since=$SECONDS
	mkdir -p "$debian/opt/pictures"
	cp "$root/models/efficientnet_lite0/golden.png" "$root"/docs/{inspect,page-desktop,page-phone}.png "$debian/opt/pictures/"
	in_root "$debian" "$arch" timeout 600 sh -c 'edge-agent classify --top 3 --json /opt/pictures/*.png' >"$place/$name.json" 2>"$place/$name.err" || cat "$place/$name.err" >&2
	figures+=("board_classify_${name//-/_}_s: $((SECONDS - since))")
	# The labels' order and names; scores differ a little between architectures.
	grep -oE '"(label|name)":"[^"]*"' "$place/$name.json" >"$place/$name.labels" || true
	figures+=("board_labels_${name//-/_}: $(wc -l <"$place/$name.labels")")
	ok "classify gives labels: $(head -n 3 "$place/$name.labels" | tr '\n' ' ')…" test -s "$place/$name.labels"
	first=${first:-$place/$name.labels}
	ok "the same as in the first Debian" cmp "$place/$name.labels" "$first"
}

# old_core: on a Cortex-A72, the processor of a Raspberry Pi 4, LiteRT's GPU library dies of an instruction that is not
# there. That must cost the GPU's worker only: the agent says so and goes on with cpu.
old_core() {
	local log=$debian/opt/a72.log
	ok "the library for GPUs" inside apt-get --yes install edge-agent-runtime-gpu
	local interpreter=$debian/opt/qemucpu
	(. "$root/build/env.sh" && cd "$root" && CGO_ENABLED=0 go build -o "$interpreter" \
		-ldflags "-X main.qemu=/opt/qemu -X main.cpu=cortex-a72" ./build/qemucpu)
	cp "$(emulator "$arch")" "$debian/opt/qemu"
	cat >"$debian/opt/a72.yaml" <<-YAML
		version: 1
		agent: {id: a72, data_dir: /opt/a72}
		mqtt: {broker: embedded, embedded: {listen: "127.0.0.1:0", websocket: ""}}
		models: {objects: {manifest: /usr/share/edge-agent/models/efficientnet_lite0/manifest.yaml, delegates: [{kind: gpu}]}}
		cameras: {front: {source: "testpattern:640x480", models: [objects], fps: 2}}
		web: {listen: ""}
	YAML
	cat >"$debian/opt/a72.sh" <<-'SH'
		edge-agent run -c /opt/a72.yaml --print >/opt/a72.txt 2>/opt/a72.log &
		agent=$!
		for i in $(seq 240); do
			said=${said:-$(grep -q '"delegate-\(absent\|broken\)"' /opt/a72.log && wc -l </opt/a72.txt)}
			[ -z "$said" ] || [ "$(wc -l </opt/a72.txt)" -lt "$((said + 5))" ] || break
			kill -0 $agent || exit 1
			sleep 1
		done
		kill $agent
		wait $agent && [ -n "$said" ] && [ "$(wc -l </opt/a72.txt)" -ge "$((said + 5))" ]
	SH
	ok "on a Cortex-A72 the agent answers before and after the GPU's worker has died" in_root "$debian" "$arch" sh /opt/a72.sh
	ok "it says why: $(grep -oE '"why":"[^"]*"' "$log" | tail -n 1)" grep -qE '"delegate-(absent|broken)".*"delegate":"gpu"' "$log"
}

# part NAME COMMAND...: another script; its figures are kept for the end.
part() {
	local name=$1 status=0
	shift
	"$@" >"$place/$name.out" || status=1
	sed '/^== figures/,$d' "$place/$name.out"
	mapfile -t -O ${#figures[@]} figures < <(sed '1,/^== figures/d' "$place/$name.out")
	[ $status = 0 ] || failed=1
}

for name in "$@"; do
	say "== $name"
	case $name in
	release) part release "$root/build/test-release.sh" "$folder" ;;
	boot) part boot "$root/build/test-boot.sh" ;;
	install) part install "$root/build/test-install.sh" "$folder" ;;
	*-*) check "$name" ;;
	*) die "there is no check $name" ;;
	esac
done
printf '\n== figures\n'
printf '%s\n' "${figures[@]}"
exit $failed
