#!/bin/sh
# The tests of the second kernel: what only it can do (*.vm.test.ts), and what every kernel must do, there as well.
#
#   npm run test:vm            all of them
#   npm run test:vm -- FILE…   just these
#
# Where the kernel is emulated, a minute here is ten seconds elsewhere: of the rows that every mode must keep, nftables and
# iptables take one in VM_EVERY (default 8) there, for they have all of them outside; IPVS takes every one.
set -u
cd "$(dirname "$0")/../.." || exit 1
sh scripts/setup.sh vm || exit 1
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
PATH=$PWD/node_modules/node-linux-$arch/bin:$PWD/node_modules/.bin:$PATH
export PATH
[ $# -gt 0 ] || set -- $(find src test -name '*.vm.test.ts' | sort) src/services/modes.kernel.test.ts src/services/services.kernel.test.ts \
  src/kernel/linux/contract.kernel.test.ts
VM_SECONDS=${VM_SECONDS:-600}
export VM_SECONDS
exec sh scripts/vm/run.sh node --disable-warning=ExperimentalWarning --test --test-concurrency=1 --test-force-exit --test-timeout=300000 "$@"
