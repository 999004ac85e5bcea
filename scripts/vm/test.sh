#!/bin/sh
# The tests of the second kernel: what only it can do (*.vm.test.ts), and what every kernel must do, there as well.
#
#   npm run test:vm            all of them
#   npm run test:vm -- FILE…   just these
set -u
cd "$(dirname "$0")/../.." || exit 1
sh scripts/setup.sh vm || exit 1
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
PATH=$PWD/node_modules/node-linux-$arch/bin:$PWD/node_modules/.bin:$PATH
export PATH
[ $# -gt 0 ] || set -- $(find src test -name '*.vm.test.ts' | sort) src/services/services.kernel.test.ts src/kernel/linux/contract.kernel.test.ts
exec sh scripts/vm/run.sh node --disable-warning=ExperimentalWarning --test --test-concurrency=1 --test-timeout=600000 "$@"
