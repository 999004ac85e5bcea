#!/bin/sh
# Unpacks Debian's cloud kernel with its modules for run.sh: nothing is installed; quick when it is there already.
#
#   scripts/vm/fetch.sh                    that of the machine's own Debian, into .build/vm
#   scripts/vm/fetch.sh trixie-backports   a newer one of another suite, into .build/vm-trixie-backports
#
# Then, for what only a newer kernel shows (since Linux 7, IPVS' tables grow with their services):
#
#   VM_IMAGE=$PWD/.build/vm-trixie-backports scripts/vm/run.sh COMMAND…
set -u
cd "$(dirname "$0")/../.." || exit 1
suite=${1:-}
case $suite in *[!a-z0-9-]*) echo "no suite of Debian has the name $suite" >&2; exit 2 ;; esac
target=$PWD/.build/vm${suite:+-$suite}
ls "$target"/boot/vmlinuz-* >/dev/null 2>&1 && exit 0
new=$target.new
rm -rf "$new"
mkdir -p "$new/apt/lists/partial" "$new/apt/cache/archives/partial" && cd "$new" || exit 1
fail() { rm -rf "$new"; echo "no kernel: $1" >&2; exit 1; }

# Another suite has lists of its own: what the machine installs from stays as it is.
set --
if [ -n "$suite" ]; then
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" >apt/sources.list
  set -- -o Dir::Etc::sourcelist="$new/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$new/apt/lists" \
    -o Dir::State::status=/dev/null -o Dir::Cache="$new/apt/cache" -o Acquire::Languages=none
  apt-get "$@" update >/dev/null || fail "the lists of $suite could not be had"
fi
depends() { apt-cache "$@" 2>/dev/null | sed -n 's/^ *Depends: \(linux-[a-z]*-[0-9].*\)/\1/p'; }
image=$(depends "$@" depends linux-image-cloud-amd64 | grep ^linux-image- | head -n 1)
[ -n "$image" ] || fail "apt knows no linux-image-cloud-amd64${suite:+ in $suite}"
# Newer releases are in several packages: the kernel, its modules, what they have in common.
apt-get "$@" download "$image" $(depends "$@" depends "$image") >/dev/null 2>&1 || fail "$image could not be had"
for package in ./*.deb; do dpkg-deb -x "$package" . || fail "$package could not be unpacked"; done
rm -rf ./*.deb apt
[ -d lib ] || mv usr/lib lib
release=$(ls lib/modules)
mkdir -p boot
[ -e "boot/vmlinuz-$release" ] || mv "lib/modules/$release/vmlinuz" "boot/vmlinuz-$release" || fail "$image has no kernel where one is expected"
# What starts the machine loads its first modules with busybox, which reads them as they are.
find lib -name '*.ko.xz' -exec xz -d {} +
/sbin/depmod -b . "$release" 2>/dev/null || busybox depmod -b . "$release" || fail "its modules could not be listed"
rm -rf "$target" && mv "$new" "$target"
