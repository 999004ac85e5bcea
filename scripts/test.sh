#!/bin/sh
# All tests: types, lint, layers, units, then the kernel's and end-to-end tests (as root, or as root of a user namespace).
#
#   npm test                  everything
#   npm test -- unit          without the kernel
#   npm test -- FILE…         just these
#   npm run test:vm           what runs in a second kernel, which has IPVS
set -u
cd "$(dirname "$0")/.." || exit 1
sh scripts/setup.sh test || exit 1
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
# The machine's own kubectl goes before the pinned one.
PATH=$PWD/node_modules/node-linux-$arch/bin:$PWD/node_modules/.bin:$PATH:$PWD/.build/clients
export PATH
node='node --disable-warning=ExperimentalWarning --test'
status=0
# What failed is said once more at the end: the last step prints a lot.
logs=".build/unit.log .build/kernel.log"
failures() { for log in $logs; do [ -f "$log" ] && sed -n '/failing tests:$/,$p' "$log"; done; }
step() { printf '\n\033[1m%s\033[0m\n' "$1"; }

if [ $# -gt 0 ] && [ "$1" != unit ]; then exec $node "$@"; fi
rm -f $logs
step "types"; tsc --noEmit || status=1
step "lint"; biome check . || status=1
knip || status=1
step "units"
$node --test-reporter=dot --test-reporter-destination=stdout --test-reporter=spec --test-reporter-destination=.build/unit.log \
  $(find src test scripts -name '*.test.ts' ! -name '*.kernel.test.ts' ! -name '*.e2e.test.ts' ! -name '*.vm.test.ts' | sort) || { status=1; cat .build/unit.log; }
tail -n 9 .build/unit.log
[ "${1:-}" = unit ] && exit $status

step "kernel and end to end"
if [ "$(id -u)" = 0 ]; then enter=; else enter="unshare --user --map-root-user --net --mount --pid --fork --kill-child --mount-proc"; fi
if [ -n "$enter" ] && ! $enter true 2>/dev/null; then
  echo "NOT RUN: the kernel tests need root, or a host that lets an ordinary user make user namespaces (sysctl user.max_user_namespaces)"
  exit 1
fi
$enter $node --test-reporter=spec --test-reporter-destination=stdout --test-reporter=spec --test-reporter-destination=.build/kernel.log \
  --test-concurrency=1 --test-timeout=600000 $(find src test -name '*.kernel.test.ts' -o -name '*.e2e.test.ts' | sort) || status=1

step "second kernel"
# IPVS is in few kernels: its tests, and those of Services once more, run in an emulated one.
sh scripts/vm/test.sh
case $? in
0) ;;
69) echo "NOT RUN: the tests that need IPVS; the line above says what is missing" ;;
*) status=1 ;;
esac
failures
exit $status
