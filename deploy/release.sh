#!/usr/bin/env bash
# Build a release from a clean clone: the wheel, the source distribution, the SBOM and, if a container engine is there,
# the image.
#
#   deploy/release.sh [FOLDER]      by default dist
#
# It needs the developers' environment, .venv, which the README's second command makes. All files but the image are the
# same, byte for byte, whenever and wherever the same commit is built. SHA256SUMS has their hashes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "release: $*" >&2
    exit 1
}

[ -x .venv/bin/hatchling ] || fail "no .venv: run the README's second command first"
[ -z "$(git status --porcelain)" ] || fail "the clone has changes: commit or remove them first"
version=$(.venv/bin/python -c "import syncd; print(syncd.__version__)")
grep -q "^## $version (" CHANGELOG.md || fail "CHANGELOG.md has no heading \"## $version (DATE)\""
grep -q "^## Unreleased" CHANGELOG.md && fail "CHANGELOG.md has changes under \"Unreleased\": name their version first"
revision=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

folder=${1:-dist}
[ ! -e "$folder" ] || fail "$folder exists: remove it, or name another folder"
mkdir -p "$folder"
.venv/bin/hatchling build -t sdist -t wheel -d "$folder" 2>/dev/null
.venv/bin/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible -o "$folder/syncd-$version.cdx.json" requirements.txt

engine=
for each in docker podman; do
    if command -v "$each" >/dev/null && "$each" info >/dev/null 2>&1; then
        engine=$each
        break
    fi
done
if [ -n "$engine" ]; then
    "$engine" build -q -f deploy/container/Dockerfile --build-arg VERSION="$version" --build-arg REVISION="$revision" -t "syncd:$version" .
    "$engine" save -o "$folder/syncd-$version.image.tar" "syncd:$version"
else
    echo "release: no container engine answers, so there is no image" >&2
fi

cd "$folder"
sha256sum -- syncd-* | tee SHA256SUMS
