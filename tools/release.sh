#!/bin/bash
# Makes what is released into a folder: static binaries with a bill of materials each, the container image, the Helm chart, checksums.
#   tools/release.sh [DIR]             VERSION= names it; default git describe
#   tools/release.sh --check           makes it twice, the second time in a fresh clone with an empty build cache, and compares
# The same commit and Go give the same bytes: no paths, no times but that of the commit.
set -euo pipefail
cd "$(dirname "$0")/.."
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}
VERSION=${VERSION:-$(git describe --tags --always --dirty)}
export VERSION SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} TZ=UTC LC_ALL=C

if [ "${1:-}" = --check ]; then
	[ -z "$(git status --porcelain)" ] || echo "!! the tree has changes that the clone will not have" >&2
	tmp=$(mktemp -d)
	trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
	git clone -q . "$tmp/elsewhere"
	"$0" "$tmp/one"
	mkdir "$tmp/elsewhere/.tools" && ln -s "$PWD/.tools/bin" "$tmp/elsewhere/.tools/bin"
	GOCACHE=$tmp/cache "$tmp/elsewhere/tools/release.sh" "$tmp/two"
	diff "$tmp/one/checksums.txt" "$tmp/two/checksums.txt"
	echo "the same twice: $(wc -l <"$tmp/one/checksums.txt") files"
	exit
fi

out=$(mkdir -p "${1:-dist}" && cd "${1:-dist}" && pwd)
rm -rf "${out:?}"/*
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
pack() { # pack NAME DIR: DIR as a tar.gz whose bytes depend on its content only
	tar -C "$(dirname "$2")" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=ustar \
		--mode='u+rwX,go+rX,go-w' -c "$(basename "$2")" | gzip -n9 >"$out/$1.tar.gz"
}

images=()
for platform in $platforms; do
	os=${platform%/*} arch=${platform#*/}
	name=sendgate_${VERSION#v}_${os}_$arch
	mkdir "$stage/$name"
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch GOFLAGS= go build -trimpath -buildvcs=false \
		-ldflags "-s -w -buildid= -X main.version=$VERSION" -o "$stage/$name/sendgate" ./cmd/sendgate
	cp LICENSE README.md CHANGELOG.md "$stage/$name/"
	cp policy/default.yaml "$stage/$name/policy.yaml"
	if [ "$os" = linux ]; then
		cp -r deploy/systemd "$stage/$name/"
		images+=("$platform=$stage/$name/sendgate")
	fi
	# Read from the binary itself: what is in it, not what might be.
	.tools/bin/cyclonedx-gomod bin -json -noserial -notimestamp -std -version "$VERSION" -output "$out/$name.cdx.json" "$stage/$name/sendgate"
	pack "$name" "$stage/$name"
	echo "$name"
done

.tools/bin/image -out "$out/sendgate_${VERSION#v}.oci.tar" -version "$VERSION" -time "$SOURCE_DATE_EPOCH" "${images[@]}"

# A chart's version is a SemVer; between tags it is a pre-release of none.
chart=${VERSION#v}
[[ $chart =~ ^[0-9]+\.[0-9]+\.[0-9]+ ]] || chart=0.0.0-g${chart//[^0-9A-Za-z-]/-}
mkdir "$stage/chart"
cp -r deploy/helm/sendgate "$stage/chart/"
sed -i "s/^version: .*/version: $chart/; s/^appVersion: .*/appVersion: \"$VERSION\"/" "$stage/chart/sendgate/Chart.yaml"
pack chart "$stage/chart/sendgate"
mv "$out/chart.tar.gz" "$out/sendgate-$chart.tgz"

cd "$out"
sha256sum -- * >checksums.txt
echo "$out: $(wc -l <checksums.txt) files and their checksums.txt"
