#!/bin/busybox sh
# The first process of the second kernel (see run.sh): makes a root that can be written, loads what the tests need, runs the command.
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t devtmpfs dev /dev
while read -r module; do $bb insmod "$module"; done </order
$bb mkdir -p /mnt/host /mnt/own
$bb mount -t virtiofs -o ro host /mnt/host
$bb mount -t tmpfs -o size=60% own /mnt/own
$bb mkdir /mnt/own/upper /mnt/own/work /mnt/root
root=/mnt/root
$bb mount -t overlay -o lowerdir=/mnt/host,upperdir=/mnt/own/upper,workdir=/mnt/own/work overlay $root
$bb mount -t proc proc $root/proc
$bb mount -t sysfs sysfs $root/sys
$bb mount -t devtmpfs dev $root/dev
$bb mount -t tmpfs tmpfs $root/run
$bb mkdir -p $root/dev/pts $root/dev/shm $root/run/netns $root/run/lock
$bb mount -t tmpfs tmpfs $root/dev/shm
$bb cp /command $root/run/command
# The kernel loads the others itself when they are asked for, by the modprobe of this first root.
modules=$($bb cat /kernel-modules)
$bb mkdir -p /sbin /lib/modules $root/lib/modules
$bb ln -s $bb /sbin/modprobe
$bb ln -s "/mnt/host$modules" /lib/modules/
$bb rm -rf "$root/lib/modules/${modules##*/}"
$bb ln -s "$modules" $root/lib/modules/
for module in ipv6 br_netfilter ip_vs nf_conntrack_netlink; do $bb modprobe $module; done
$bb ip link set lo up
$bb hostname second-kernel
$bb stty -F /dev/ttyS0 -opost 2>/dev/null
echo
echo "vm: begin"
$bb chroot $root /bin/sh /run/command 2>&1
echo "vm: end $?"
$bb poweroff -f
