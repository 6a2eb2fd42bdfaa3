#!/bin/sh
# Installs, tests, upgrades, rolls back and uninstalls the chart in the cluster of $KUBECONFIG. It uses its own namespace, which
# enforces the restricted Pod Security Standard, and deletes it at the end:
#   KUBECONFIG=… IMAGE=registry.example.com:5000/zoom-qos-proxy:0.1.0 helm/e2e.sh
# The nodes must be able to pull IMAGE or, if its name has no registry, must have it already; the default is the chart's own name.
# It never calls Zoom: the configuration leads to a closed port, and the credentials are invented. Needs helm and kubectl.
set -eu
chart=$(cd "$(dirname "$0")" && pwd)/zoom-qos-proxy

if [ -z "${KUBECONFIG:-}" ]; then
    echo 'skipped: no cluster; set KUBECONFIG to the configuration of one to run install, test, upgrade, rollback, uninstall'
    exit 0
fi
for tool in helm kubectl; do
    command -v "$tool" >/dev/null || {
        echo "$tool is missing: install it" >&2
        exit 1
    }
done
kubectl version >/dev/null || {
    echo "the cluster of KUBECONFIG=$KUBECONFIG does not answer" >&2
    exit 1
}

namespace=zoom-qos-proxy-e2e-$$ release=e2e name=e2e-zoom-qos-proxy
kubectl create namespace "$namespace"
# shellcheck disable=SC2329 # called by the trap
clean_up() {
    status=$?
    trap - EXIT
    if [ "$status" != 0 ]; then
        echo "failed; what there is in $namespace:" >&2
        kubectl --namespace "$namespace" get all,events >&2 || true
        kubectl --namespace "$namespace" logs --selector "app.kubernetes.io/instance=$release" --all-containers --tail 50 >&2 || true
    fi
    kubectl delete namespace "$namespace" --wait=false
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted

say() { printf '\n== %s\n' "$*"; }

# Two replicas: shares, PDB, sticky callers, and a rollout without a gap.
set -- --namespace "$namespace" --wait --timeout 5m --set replicaCount=2 \
    --set config.zoom.api_base_url=http://127.0.0.1:9/v2 --set config.zoom.oauth_url=http://127.0.0.1:9/oauth/token \
    --set credentials.trial.accountId=e2e --set credentials.trial.clientId=e2e --set credentials.trial.clientSecret=e2e
# HOST:PORT/NAME:TAG@DIGEST; only the name is required. A colon before a slash belongs to a port, and the part before the first
# slash is a registry if it looks like a host.
image=${IMAGE:-zoom-qos-proxy} registry='' tag='' digest='' policy=Never
case $image in *@*) digest=${image#*@} image=${image%%@*} ;; esac
case ${image##*/} in *:*) tag=${image##*:} image=${image%:*} ;; esac
case ${image%%/*} in
"$image") ;;
*.* | *:* | localhost) registry=${image%%/*} image=${image#*/} policy=IfNotPresent ;;
esac
# As strings: 1.10 must not become a number.
set -- "$@" --set-string "image.registry=$registry" --set-string "image.repository=$image" \
    --set-string "image.tag=$tag" --set-string "image.digest=$digest" --set "image.pullPolicy=$policy"

# Fails unless the configuration of the cluster's current pods contains a line. The ConfigMap's name changes with its content.
has() {
    config=$(kubectl --namespace "$namespace" get deployment "$name" \
        --output 'jsonpath={.spec.template.spec.volumes[?(@.name=="config")].configMap.name}')
    kubectl --namespace "$namespace" get configmap "$config" --output 'jsonpath={.data.config\.toml}' | grep -qxF "$1" || {
        echo "the ConfigMap has no line: $1" >&2
        exit 1
    }
}
try() { helm test "$release" --namespace "$namespace" --timeout 2m; }

say install
helm install "$release" "$chart" "$@"
has 'live_fresh = "30s"'
say test
try

say upgrade
helm upgrade "$release" "$chart" "$@" --set config.cache.live_fresh=45s
has 'live_fresh = "45s"'
say 'test after the upgrade'
try

say rollback
helm rollback "$release" 1 --namespace "$namespace" --wait --timeout 5m
has 'live_fresh = "30s"'
say 'test after the rollback'
try

say uninstall
helm uninstall "$release" --namespace "$namespace" --wait --timeout 5m
left=$(kubectl --namespace "$namespace" get all,configmap,secret,networkpolicy,pdb,serviceaccount \
    --selector "app.kubernetes.io/instance=$release,app.kubernetes.io/managed-by=Helm" --output name)
if [ -n "$left" ]; then
    echo "left behind: $left" >&2
    exit 1
fi
say 'all of it worked'
