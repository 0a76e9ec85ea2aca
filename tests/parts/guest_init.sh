#!/bin/busybox sh
# First process of the virtual machine: the host's file tree, read-only, below a disk of its own;
# then systemd. What runs and is stored there is the guest's alone.
b() { /bin/busybox "$@"; }
b mkdir -p /proc /dev /sys /host /disk /root
b mount -t proc proc /proc
b mount -t devtmpfs dev /dev
b mount -t sysfs sys /sys
while read -r module; do b insmod "/modules/$module" || echo "no module $module"; done </order
b mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 host /host
b mount -t ext4 /dev/vda /disk
b mkdir -p /disk/upper /disk/work /disk/units /disk/tmp /disk/containerd /disk/kubetide /disk/log
b chmod 1777 /disk/tmp
b mount -t overlay -o lowerdir=/host,upperdir=/disk/upper,workdir=/disk/work root /root
b mkdir -p /root/machine /root/var/lib/containerd /root/var/lib/kubetide
b mount --move /disk /root/machine
# What a runtime and a database need is a real file system, not one that lies over another.
b mount --bind /root/machine/tmp /root/tmp
b mount --bind /root/machine/log /root/var/log
b mount --bind /root/machine/containerd /root/var/lib/containerd
b mount --bind /root/machine/kubetide /root/var/lib/kubetide
b mkdir -p /root/lib/modules
b mount --bind "/root$(b cat /modules-at)" /root/lib/modules
# Services are those of the guest: none that the host happens to have enabled.
b mount --bind /root/machine/units /root/etc/systemd/system
b cp /units/* /root/etc/systemd/system/
b mkdir -p /root/etc/systemd/system/multi-user.target.wants
b ln -sf ../guest-commands.service /root/etc/systemd/system/multi-user.target.wants/
b ln -sf /lib/systemd/system/multi-user.target /root/etc/systemd/system/default.target
for unit in getty.target systemd-timesyncd.service systemd-pstore.service; do
    b ln -sf /dev/null "/root/etc/systemd/system/$unit"
done
# It would take itself for a container.
b rm -f /root/.dockerenv /root/run/.containerenv
: >/fstab
b cp /fstab /root/etc/fstab
b mkdir -p /root/host
b mount --bind /host /root/host
b ip link set lo up
b ip address add 10.0.2.15/24 dev eth0 && b ip link set eth0 up
b umount /proc /sys /dev
exec /bin/busybox switch_root /root /lib/systemd/systemd
