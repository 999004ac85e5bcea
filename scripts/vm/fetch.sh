#!/bin/sh
# Unpacks Debian's cloud kernel with its modules into .build/vm, for run.sh. Nothing is installed; quick when it is there already.
set -u
cd "$(dirname "$0")/../.." || exit 1
ls .build/vm/boot/vmlinuz-* >/dev/null 2>&1 && exit 0
package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$package" ] || { echo "apt knows no linux-image-cloud-amd64" >&2; exit 1; }
rm -rf .build/vm.new
mkdir -p .build/vm.new && cd .build/vm.new || exit 1
apt-get download "$package" >/dev/null 2>&1 && dpkg-deb -x ./*.deb . && rm -f ./*.deb || exit 1
/sbin/depmod -b . "$(ls lib/modules)" 2>/dev/null || busybox depmod -b . "$(ls lib/modules)" || exit 1
cd ../.. && rm -rf .build/vm && mv .build/vm.new .build/vm
