#!/bin/sh
# The tests of the second kernel: what only it can do (*.vm.test.ts), and what every kernel must do, there as well.
#
#   npm run test:vm            all of them
#   npm run test:vm -- FILE…   just these
#
# The kernel is emulated, so a second there is several elsewhere: FAIRLEAD_BRIEF=1 leaves out some of what the machine's own kernel
# has been asked already. FAIRLEAD_BRIEF=0 npm run test:vm leaves out nothing.
set -u
cd "$(dirname "$0")/../.." || exit 1
sh scripts/setup.sh vm || exit 1
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
PATH=$PWD/node_modules/node-linux-$arch/bin:$PWD/node_modules/.bin:$PATH
export PATH
[ $# -gt 0 ] || set -- $(find src test -name '*.vm.test.ts' | sort) src/services/modes.kernel.test.ts src/services/services.kernel.test.ts \
  src/services/churn.kernel.test.ts src/services/commit.kernel.test.ts \
  src/kernel/linux/contract.kernel.test.ts src/kernel/linux/fast-path.kernel.test.ts
VM_SECONDS=${VM_SECONDS:-1500}
export VM_SECONDS
exec sh scripts/vm/run.sh env FAIRLEAD_BRIEF="${FAIRLEAD_BRIEF:-1}" FAIRLEAD_ROWS="${FAIRLEAD_ROWS:-}" node --disable-warning=ExperimentalWarning --test --test-concurrency=1 --test-timeout=300000 "$@"
