#!/bin/bash
# Start systemd over a throw-away copy of this machine. booted.py runs this as the first process of new
# namespaces (pid, mount, cgroup, ipc, uts; the network stays the machine's):
#
#   booted.sh WORK CLONE [CONTROLLER...]
#
# WORK is an empty directory. CLONE is mounted inside, read-only, as /usr/src/syncd. The controllers are those of cgroup v1,
# if the machine has any. `/` becomes an overlay in memory, so all changes inside end with it.
set -euo pipefail
work=$1 clone=$2
shift 2

mount --make-rprivate / # later mounts are visible only here
mount -t tmpfs -o mode=0755 booted "$work"
mkdir "$work"/changes "$work"/scratch "$work"/root
root=$work/root
mount -t overlay -o "lowerdir=/,upperdir=$work/changes,workdir=$work/scratch" booted "$root"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys" # the kernel's settings and devices belong to the machine
mount -t sysfs -o ro sysfs "$root/sys"
if [ $# = 0 ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=0755 booted "$root/sys/fs/cgroup"
    for name in unified systemd "$@"; do mkdir "$root/sys/fs/cgroup/$name"; done
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    for name; do mount -t cgroup -o "$name" cgroup "$root/sys/fs/cgroup/$name"; done
fi

mount -t tmpfs -o mode=0755,nosuid booted "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for name in shm:/dev/shm run:/run tmp:/tmp log:/var/log; do
    mount -t tmpfs -o "mode=$([ "${name%%:*}" = run ] && echo 0755 || echo 1777),nosuid,nodev" booted "$root${name#*:}"
done

# A bare system: none of the enabled units, no disks, another host name, no syncd yet.
rm -rf "$root"/etc/systemd/system/* "$root"/etc/fstab "$root"/etc/crypttab
rm -rf "$root"/opt/syncd "$root"/etc/syncd "$root"/var/lib/syncd "$root"/var/lib/private/syncd
: >"$root/etc/machine-id"
mkdir -p "$root/usr/src/syncd" "$root/before"
mount --bind "$clone" "$root/usr/src/syncd"
mount -o remount,bind,ro "$root/usr/src/syncd"

cd "$root"
pivot_root . before
umount -l /before
mount --make-rshared / # PID 1 omits this in a container, but credentials reach a service only this way
init=$(readlink -e /usr/lib/systemd/systemd || readlink -e /lib/systemd/systemd)
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 container=booted \
    "$init" --unit=basic.target --log-target=journal --show-status=no
