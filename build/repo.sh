#!/usr/bin/env bash
# Makes a folder of packages a flat apt repository: index, checksums, signature, and the key to check it with.
#
#   build/repo.sh FOLDER ARCH...
#
# SIGNING_KEY=FILE names a secret OpenPGP key without a passphrase (gpg --export-secret-keys). Without it a key is made
# the first time and kept in build/cache/signing: good for one's own boards, and told.

. "$(dirname "$0")/lib.sh"

out=${1:?usage: repo.sh FOLDER ARCH...}
shift
date=$("$root/build/version.sh" date)

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
rm -f Packages* Release* InRelease SHA256SUMS*
signer --export >edge-agent.gpg
apt-ftparchive packages . >Packages
gzip -9nk Packages
apt-ftparchive -o APT::FTPArchive::Release::Origin=edge-agent -o APT::FTPArchive::Release::Label=edge-agent \
	-o "APT::FTPArchive::Release::Architectures=$*" -o APT::FTPArchive::Release::Description="Packages of edge-agent" \
	release . >Release.new
# The repository's date is the commit's, not now; what differs between two builds is the signatures alone.
sed "s/^Date: .*/Date: $(LC_ALL=C date -u -R -d "@$date" | sed 's/+0000/UTC/')/" Release.new >Release
rm Release.new
find . -maxdepth 1 -name '*.deb' -o -name '*.cdx.json' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS
signer --armor --clearsign --output InRelease Release
signer --armor --detach-sign --output Release.gpg Release
signer --armor --detach-sign --output SHA256SUMS.asc SHA256SUMS
say "$(find . -name '*.deb' | wc -l) packages in $out, signed by $(signer --list-keys --with-colons | sed -n 's/^fpr:*\([^:]*\):/\1/p' | head -n 1)"
