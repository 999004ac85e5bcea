#!/bin/sh
# Runs a command in a second Linux kernel, one that has what this machine's may lack: IPVS, ipsets, dummy devices, SCTP, netem, IPIP.
#
#   scripts/vm/run.sh COMMAND [ARGUMENT...]
#
# It is Debian's cloud kernel in qemu, emulated in software, so it runs anywhere and slowly. The machine's files are its root, seen
# through an overlay in memory: whatever the command writes is gone at the end. Output is the command's, and so is the exit status;
# there is no network card, so nothing of it can reach the machine's network. VM_MEMORY is its memory in MiB (default 1800),
# VM_SECONDS the longest that it may run (default 1200). VM_IMAGE is another kernel's folder: boot/vmlinuz-RELEASE, and its modules,
# not compressed, in lib/modules/RELEASE (default .build/vm, by fetch.sh).
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
image=$(realpath -m "${VM_IMAGE:-$root/.build/vm}")
lack() { echo "no second kernel: $1" >&2; exit 69; }
command -v qemu-system-x86_64 >/dev/null || lack "qemu-system-x86_64 is missing (Debian: apt-get install qemu-system-x86)"
[ -x /usr/lib/qemu/virtiofsd ] || lack "/usr/lib/qemu/virtiofsd is missing (Debian: apt-get install qemu-system-common)"
[ -x /bin/busybox ] || lack "/bin/busybox is missing (Debian: apt-get install busybox-static)"
[ "$(id -u)" = 0 ] || lack "it sees the machine's files as root does: run this as root"
kernel=$(ls -d "$image"/boot/vmlinuz-* 2>/dev/null | head -n 1)
[ -n "$kernel" ] || lack "no kernel in $image: run scripts/vm/fetch.sh, it unpacks Debian's"
release=${kernel##*/vmlinuz-}
modules=$image/lib/modules/$release

work=$(mktemp -d /tmp/fairlead-vm.XXXXXX) || exit 1
machine= files=
reader=
trap 'for pid in $machine $files $reader; do kill "$pid" 2>/dev/null; done; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# --- What it starts from: busybox, the modules that reach the machine's files, and the command.
mkdir -p "$work/start/bin" "$work/start/modules" "$work/start/mnt" "$work/start/proc" "$work/start/dev"
cp /bin/busybox "$work/start/bin/"
cp "$here/init.sh" "$work/start/init"
first="drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci_modern_dev
  drivers/virtio/virtio_pci fs/fuse/fuse fs/fuse/virtiofs fs/overlayfs/overlay"
for module in $first; do
  grep -qsx "kernel/$module.ko" "$modules/modules.builtin" && continue
  cp "$modules/kernel/$module.ko" "$work/start/modules/" || lack "the kernel in $image lacks $module"
  echo "/modules/${module##*/}.ko" >>"$work/start/order"
done
echo "$modules" >"$work/start/kernel-modules"
{
  printf "cd '%s' || exit 1\nexport PATH='%s' HOME=/root NO_COLOR=1\n" "$(pwd)" "$PATH"
  printf 'set --'
  for word in "$@"; do printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done
  printf '\n"$@" </dev/null\n'
} >"$work/start/command"
(cd "$work/start" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd"

/usr/lib/qemu/virtiofsd --socket-path="$work/files" -o source=/ -o cache=always -o sandbox=chroot >"$work/files.log" 2>&1 &
files=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
  [ -S "$work/files" ] && break
  sleep 0.2
done
mkfifo "$work/console"
size=${VM_MEMORY:-1800}M
timeout "${VM_SECONDS:-1200}" qemu-system-x86_64 -M q35 -cpu max,-pku -smp 1 -m "$size" -nodefaults -nographic -no-reboot \
  -object memory-backend-memfd,id=memory,size="$size",share=on -numa node,memdev=memory \
  -chardev socket,id=files,path="$work/files" -device vhost-user-fs-pci,chardev=files,tag=host \
  -kernel "$kernel" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off" \
  -serial stdio </dev/null >"$work/console" 2>&1 &
machine=$!
# What the machine says before and after the command is left out, unless the command never came to its end.
return_key=$(printf '\r')
{
  told= status=70
  while IFS= read -r line; do
    line=${line%"$return_key"}
    case $line in
    "vm: begin") told=1 ;;
    "vm: end "*) told= status=${line#vm: end } ;;
    *) if [ -n "$told" ]; then printf '%s\n' "$line"; else printf '%s\n' "$line" >>"$work/boot"; fi ;;
    esac
  done
  exit "$status"
} <"$work/console" &
reader=$!
# Not in the foreground: a signal must end the machine at once.
wait "$reader"
status=$?
reader=
wait "$machine" 2>/dev/null
machine=
if [ "$status" = 70 ]; then
  echo "the second kernel ended before the command did (VM_SECONDS=${VM_SECONDS:-1200}, VM_MEMORY=${VM_MEMORY:-1800}); it said last:" >&2
  tail -n 20 "$work/boot" >&2
fi
exit "$status"
