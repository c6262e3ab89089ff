#!/bin/sh
# Lints the Helm chart, renders it in the ways it is meant for, and checks each by Kubernetes' own schemas: make chart.
set -eu
cd "$(dirname "$0")/.."
chart=deploy/helm/sendgate kubernetes=1.37
[ -x .tools/kube/bin/kubernetes-validate ] || {
	python3 -m venv .tools/kube && .tools/kube/bin/pip install -q --no-deps --require-hashes -r tools/kube.txt
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
render() { # render NAME FLAGS...
	name=$1
	shift
	.tools/bin/helm template gate $chart --kube-version $kubernetes.0 "$@" >"$tmp/$name.yaml"
	# A ServiceMonitor is the Prometheus operator's: no schema of Kubernetes.
	awk 'BEGIN { RS = "---\n"; ORS = "---\n" } !/kind: ServiceMonitor/' "$tmp/$name.yaml" >"$tmp/$name.known.yaml"
	.tools/kube/bin/kubernetes-validate -k $kubernetes --strict --quiet "$tmp/$name.known.yaml"
	echo "$name: $(grep -c ^kind: "$tmp/$name.yaml") objects"
}
refused() { # refused WHY FLAGS...
	why=$1
	shift
	.tools/bin/helm template gate $chart --kube-version $kubernetes.0 "$@" 2>&1 >/dev/null | grep -q "$why" || {
		echo "helm template $* should say: $why" >&2
		exit 1
	}
}
.tools/bin/helm lint --quiet --strict $chart --set insecureListen=true
render alone --set insecureListen=true
render tls --set tls.secretName=gate-tls,tls.clientCA=true --set-file policy=policy/default.yaml
render redis --set 'tls.secretName=gate-tls,store.url=redis://r:6379,secret.name=s,store.passwordSecret=p,serviceMonitor.enabled=true,secret.adminKeys=a,secret.accountKeys=k,replicas=3'
render sidecar --set mode=sidecar,sidecar.app.image=app:1,sidecar.app.port=8080 --set-file policy=policy/default.yaml
render sidecar-library --set mode=sidecar
refused 'standalone without TLS'
refused 'share their secret' --set insecureListen=true,store.url=redis://r:6379
refused 'write standalone or sidecar' --set mode=both
# What the rendered settings say is what the binary understands.
if [ -x bin/sendgate ]; then
	for f in alone tls redis sidecar; do
		sed -n '/^  config.yaml: |/,/^  policy.yaml\|^---/p' "$tmp/$f.yaml" | sed -n 's/^    \([a-z-]*\): .*/\1/p' | while read -r flag; do
			bin/sendgate serve --help | grep -q -- "--$flag" || { echo "$f: sendgate serve has no --$flag" >&2; exit 1; }
		done
	done
fi
