#!/bin/sh
# All tests: types, lint, layers, units, then the kernel's and end-to-end tests (as root, or as root of a user namespace).
#
#   npm test                  everything
#   npm test -- unit          without the kernel
#   npm test -- FILE…         just these
#   npm run test:vm           what runs in a second kernel, which has IPVS
#
# Up to three files that fail are run once more, alone: who fails twice has failed. Who passes then is named at the end as UNSTEADY,
# with what it said: a fault to be found, in the test or in the program.
set -u
cd "$(dirname "$0")/.." || exit 1
sh scripts/setup.sh test || exit 1
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
# The machine's own kubectl goes before the pinned one.
PATH=$PWD/node_modules/node-linux-$arch/bin:$PWD/node_modules/.bin:$PATH:$PWD/.build/clients
export PATH
node='node --disable-warning=ExperimentalWarning --test'
status=0 unsteady=
step() { printf '\n\033[1m%s\033[0m\n' "$1"; }

if [ $# -gt 0 ] && [ "$1" != unit ]; then exec $node "$@"; fi

# The steps that run tests: each takes files, and keeps in .build/STEP.log what it said.
units() {
  $node --test-reporter=dot --test-reporter-destination=stdout --test-reporter=spec --test-reporter-destination=.build/units.log "$@"
  code=$?
  grep '^ℹ' .build/units.log
  return $code
}
kernel() {
  $enter $node --test-reporter=spec --test-reporter-destination=stdout --test-reporter=spec --test-reporter-destination=.build/kernel.log \
    --test-concurrency=1 --test-timeout=600000 "$@"
}
second() {
  { sh scripts/vm/test.sh "$@"; echo $? >.build/second.code; } 2>&1 | tee .build/second.log
  return "$(cat .build/second.code)"
}
failures() { sed -n '/failing tests:$/,$p; /^the second kernel ended/,$p' ".build/$1.log"; }
attempt() {
  by=$1
  shift
  "$by" "$@"
  code=$?
  case $code in
  0 | 69) return $code ;;
  # The emulator stood still: all of it again.
  70) files= ;;
  *)
    files=$(failures "$by" | sed -n 's/^test at \([^:]*\):.*/\1/p' | sort -u)
    [ -n "$files" ] && [ "$(echo "$files" | wc -l)" -le 3 ] || return 1
    ;;
  esac
  mv ".build/$by.log" ".build/$by.first.log"
  step "once more: ${files:-all}"
  "$by" $files || return 1
  unsteady="$unsteady $by"
}

rm -f .build/*.log
step "types"; tsc --noEmit || status=1
step "lint"; biome check . || status=1
knip || status=1
step "units"
attempt units $(find src test scripts -name '*.test.ts' ! -name '*.kernel.test.ts' ! -name '*.e2e.test.ts' ! -name '*.vm.test.ts' | sort) || status=1

if [ "${1:-}" != unit ]; then
  step "kernel and end to end"
  if [ "$(id -u)" = 0 ]; then enter=; else enter="unshare --user --map-root-user --net --mount --pid --fork --kill-child --mount-proc"; fi
  if [ -n "$enter" ] && ! $enter true 2>/dev/null; then
    echo "NOT RUN: the kernel tests need root, or a host that lets an ordinary user make user namespaces (sysctl user.max_user_namespaces)"
    exit 1
  fi
  attempt kernel $(find src test -name '*.kernel.test.ts' -o -name '*.e2e.test.ts' | sort) || status=1

  step "second kernel"
  # IPVS is in few kernels: its tests, and those of Services once more, run in an emulated one.
  attempt second
  case $? in
  0) ;;
  69) echo "NOT RUN: the tests that need IPVS; the line above says what is missing" ;;
  *) status=1 ;;
  esac
fi

# Once more at the end, for the last step prints a lot.
for by in units kernel second; do [ -f ".build/$by.log" ] && failures "$by"; done
for by in $unsteady; do
  step "UNSTEADY: it failed, and passed when it was run once more"
  failures "$by.first"
done
exit $status
