#!/usr/bin/env bash
# Makes what a release consists of, in dist/: an archive for x86-64 Linux with the program, manual pages, completions,
# documentation and what deploy/ has, and SHA256SUMS. Publishes nothing.
#
# The program is linked against the C library of GLIBC, so that it runs on systems that have that or a newer one. Needs
# cargo-zigbuild and ziglang (pip install cargo-zigbuild ziglang), which know old C libraries, and objdump (binutils).
set -euo pipefail
cd "$(dirname "$0")"

GLIBC=2.28 # 2018: Debian 10, Ubuntu 20.04, RHEL 8
TARGET=x86_64-unknown-linux-gnu

for tool in cargo-zigbuild objdump git; do
    command -v "$tool" >/dev/null || { echo "release.sh: wanted $tool on the path" >&2; exit 1; }
done
if [[ -n "$(git status --porcelain)" ]]; then
    echo "release.sh: there are changes that no commit has: commit them, or the program names a commit that it is not" >&2
    exit 1
fi
version="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)"
if ! grep -q "^## $version" CHANGELOG.md; then
    echo "release.sh: CHANGELOG.md says nothing of $version" >&2
    exit 1
fi
commit="$(git show -s --abbrev=10 --format=%h HEAD)"
when="$(git show -s --format=%ct HEAD)"

echo "== building lockstep $version ($commit) for glibc $GLIBC"
cargo zigbuild --release --locked --bin lockstep --target "$TARGET.$GLIBC"
program="${CARGO_TARGET_DIR:-target}/$TARGET/release/lockstep"

echo "== checking it"
needs="$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)"
if [[ "$(printf '%s\n' "$needs" "$GLIBC" | sort -V | tail -n 1)" != "$GLIBC" ]]; then
    echo "release.sh: the program needs glibc $needs, wanted $GLIBC at most" >&2
    exit 1
fi
said="$("$program" --version)"
if [[ "$said" != "lockstep $version ($commit "* ]]; then
    printf 'release.sh: the program says that it is\n%s\nwanted lockstep %s (%s ...)\n' "$said" "$version" "$commit" >&2
    exit 1
fi

name="lockstep-$version-x86_64-linux"
echo "== packing $name.tar.gz"
rm -rf dist
folder="dist/$name"
mkdir -p "$folder/completions"
install -m 755 "$program" "$folder/lockstep"
"$program" manual "$folder/man/man1"
"$program" completions bash >"$folder/completions/lockstep"
"$program" completions zsh >"$folder/completions/_lockstep"
"$program" completions fish >"$folder/completions/lockstep.fish"
git archive HEAD README.md ARCHITECTURE.md CHANGELOG.md SECURITY.md LICENSE-APACHE LICENSE-MIT docs deploy examples |
    tar --directory "$folder" -x
# Whoever makes an archive of the same commit with the same tools gets the same bytes.
tar --directory dist --sort=name --owner=0 --group=0 --numeric-owner --mode=go-w --mtime="@$when" -cf - "$name" |
    gzip -9n >"dist/$name.tar.gz"
rm -r "$folder"
(cd dist && sha256sum "$name.tar.gz" >SHA256SUMS && sha256sum -c --quiet SHA256SUMS)
printf '%s\n' "$said"
ls -l dist
