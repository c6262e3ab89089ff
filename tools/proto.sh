#!/bin/sh
# What buf does for this repository. Needs buf and the plugins in .tools/bin: the Makefile builds them.
#   tools/proto.sh generate   lint, compare with the past, write the Go and its sums
#   tools/proto.sh check      lint, compare with the past, fail if the committed Go is not what buf makes
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.tools/bin:$PATH"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

buf format --exit-code --diff
buf lint

# The contract may only grow. It is compared with each version of itself since the last release, not only the newest, so that
# nothing can be taken away in two steps within one push.
release=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)
changes=$(git log --format=%H ${release:+"$release..HEAD"} -- 'proto/*.proto')
compared=0
for commit in $release $changes; do
	mkdir "$tmp/old"
	git archive "$commit" proto buf.yaml | tar -x -C "$tmp/old"
	buf breaking --against "$tmp/old" || { echo "buf: the contract breaks what $commit promised" >&2; exit 1; }
	rm -rf "$tmp/old"
	compared=$((compared + 1))
done
echo "buf: linted, and compared with $compared earlier versions"

case ${1:-} in
generate)
	buf generate
	go test -count=1 ./proto -update
	;;
check)
	buf generate -o "$tmp/new"
	for f in $(cd "$tmp/new" && find . -name '*.go') $(find ./proto -name '*.pb.go' -o -name '*.connect.go'); do
		cmp "$tmp/new/$f" "$f" || { echo "buf: $f is stale: run make generate" >&2; exit 1; }
	done
	echo "buf: the generated code is fresh"
	;;
*)
	echo "usage: tools/proto.sh generate|check" >&2
	exit 2
	;;
esac
