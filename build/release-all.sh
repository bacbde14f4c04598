#!/usr/bin/env bash
# Makes a release: the packages of both architectures, an SBOM (CycloneDX) for each, and around them a flat apt
# repository: its index, its checksums, its signature and the key to check it with. The folder can be put as it is on
# any web server, USB stick or board.
#
#   build/release-all.sh OUT [ARCH...]     default: amd64 arm64
#
# SIGNING_KEY=FILE names a secret OpenPGP key without a passphrase (gpg --export-secret-keys). Without it a key is made
# at the first release and kept in build/cache/signing: good for one's own boards, and told.

. "$(dirname "$0")/lib.sh"

out=${1:?usage: release-all.sh OUT [ARCH...]}
shift
[ $# -gt 0 ] || set -- amd64 arm64
rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
date=$("$root/build/version.sh" date)
version=$("$root/build/version.sh" debian)

for arch in "$@"; do
	"$root/build/deb.sh" "$out" "$arch"
	"$root/build/sbom.sh" "$arch" "$out/edge-agent_${version}_$arch.cdx.json"
done

# gpg's folder is one of our own: nobody's keyring is looked at.
GNUPGHOME=$(mktemp -d)
export GNUPGHOME
trap 'gpgconf --kill gpg-agent 2>/dev/null || true; rm -rf "$GNUPGHOME"' EXIT
signer() {
	gpg --batch --quiet --no-tty "$@"
}
key=${SIGNING_KEY:-$cache/signing/key.asc}
if [ -n "${SIGNING_KEY:-}" ]; then
	[ -f "$key" ] || die "SIGNING_KEY=$key: there is no such file"
elif [ ! -f "$key" ]; then
	say "making a key that signs the repository: $key (SIGNING_KEY=FILE uses another)"
	signer --pinentry-mode loopback --passphrase '' --quick-generate-key 'edge-agent packages' ed25519 sign never
	mkdir -p -m 0700 "$(dirname "$key")"
	(umask 077 && signer --armor --export-secret-keys >"$key")
fi
signer --import "$key" || die "$key is no OpenPGP key"
[ "$(signer --list-secret-keys --with-colons | grep -c '^sec')" = 1 ] || die "$key holds no secret key, or several"

cd "$out"
signer --export >edge-agent.gpg
apt-ftparchive packages . >Packages
gzip -9nk Packages
apt-ftparchive -o APT::FTPArchive::Release::Origin=edge-agent -o APT::FTPArchive::Release::Label=edge-agent \
	-o "APT::FTPArchive::Release::Architectures=$*" -o APT::FTPArchive::Release::Description="Packages of edge-agent" \
	release . >Release.new
# The repository's date is the commit's, not now: same input, same bytes.
sed "s/^Date: .*/Date: $(LC_ALL=C date -u -R -d "@$date" | sed 's/+0000/UTC/')/" Release.new >Release
rm Release.new
sha256sum ./*.deb ./*.cdx.json >SHA256SUMS
signer --armor --faked-system-time "$date!" --clearsign --output InRelease Release 2>/dev/null ||
	signer --armor --clearsign --output InRelease Release
signer --armor --detach-sign --output Release.gpg Release
signer --armor --detach-sign --output SHA256SUMS.asc SHA256SUMS
say "$(find . -name '*.deb' | wc -l) packages in $out, signed by $(signer --list-keys --with-colons | sed -n 's/^fpr:*\([^:]*\):/\1/p' | head -n 1)"
