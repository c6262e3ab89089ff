#!/bin/sh
# Builds what bench/peers/wire measures into .tools/peers, each pinned: Sendgate and the floor from this tree, envoyproxy/ratelimit and
# gubernator from the Go module proxy, limitador and redis-cell from crates.io. What cannot be had is said and left out.
# GUBERNATOR=PROGRAM takes one that was built elsewhere: its module is not in the checksum database.
set -u
cd "$(dirname "$0")/../.."
out=$PWD/.tools/peers
mkdir -p "$out"
have() { [ -e "$out/$1" ] && grep -q "^$1 $2" "$out/versions" 2>/dev/null; }
note() { grep -v "^$1 " "$out/versions" 2>/dev/null >"$out/versions.new"; echo "$1 $2" >>"$out/versions.new"; mv "$out/versions.new" "$out/versions"; }
fail() { echo "!! $1 could not be built and is left out; see $out/$1.log" >&2; }

CGO_ENABLED=0 go build -trimpath -o "$out/" ./cmd/sendgate ./bench/floor || exit 1

ratelimit=v1.4.1-0.20260122083618-3fb702589d36
have ratelimit $ratelimit || {
	GOBIN=$out go install "github.com/envoyproxy/ratelimit/src/service_cmd@$ratelimit" 2>"$out/ratelimit.log" &&
		mv "$out/service_cmd" "$out/ratelimit" && note ratelimit $ratelimit || fail ratelimit
}

gubernator=v2.13.0
if [ -n "${GUBERNATOR:-}" ]; then
	cp "$GUBERNATOR" "$out/gubernator" && note gubernator "${GUBERNATOR_VERSION:-built elsewhere}"
elif ! grep -q '^gubernator ' "$out/versions" 2>/dev/null; then
	GOBIN=$out go install "github.com/gubernator-io/gubernator/v2/cmd/gubernator@$gubernator" 2>"$out/gubernator.log" &&
		note gubernator $gubernator || fail gubernator
fi

if command -v cargo >/dev/null; then
	limitador=0.14.0
	have limitador-peer $limitador || {
		(cd bench/peers/limitador && CARGO_TARGET_DIR=$out/target cargo build --locked --release) 2>"$out/limitador-peer.log" &&
			cp "$out/target/release/limitador-peer" "$out/" && note limitador-peer "$limitador (library, behind our server)" || fail limitador-peer
	}
	cell=0.2.2
	have libredis_cell.so $cell || {
		# A module is a library that cargo will not install: it is built where cargo put its source.
		(cd bench/peers/rediscell && cargo fetch --locked &&
			CARGO_TARGET_DIR=$out/target cargo build --release --manifest-path "$(cargo metadata --locked --format-version 1 |
				tr '"' '\n' | grep "/redis-cell-$cell/Cargo.toml")") 2>"$out/libredis_cell.so.log" &&
			cp "$out/target/release/libredis_cell.so" "$out/" && note libredis_cell.so $cell || fail libredis_cell.so
	}
else
	echo "!! there is no cargo: limitador and redis-cell are left out" >&2
fi
command -v redis-server >/dev/null || tools/real.sh redis-server || true
cat "$out/versions"
