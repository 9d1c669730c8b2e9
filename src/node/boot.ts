/**
 * How a node that is a machine of its own (not a container) gets from its kernel to the init of
 * src/node/init.ts: the first program of the initial RAM disk, which stacks the layers under the
 * private disk, writes the context, brings up the network and hands over. Pure text.
 *
 * It is told by the kernel's command line:
 *   gridvc.layers=xvdb,xvdc  squashfs disks, lowest first     gridvc.disk=xvda  the private ext4 disk (upper/ work/ context.tar)
 *   gridvc.address=A.B.C.D/N gridvc.gateway=A.B.C.D gridvc.name=n1
 * What fails is the last line on the console, and the machine is off: that is seen at once.
 */
import { initPath, type InitFile } from './init.js';

/** Programs of busybox that the script below calls. */
export const bootPrograms = ['cat', 'chmod', 'chroot', 'hostname', 'insmod', 'ip', 'ln', 'mkdir', 'mount', 'poweroff', 'rm', 'sh', 'sleep', 'switch_root', 'sync', 'uname'] as const;

/** What the kernel calls when the hypervisor asks the node to end: the node's init knows no runlevels. */
const poweroffPath = '/usr/lib/gridvc/poweroff';

export const bootScript = `#!/bin/sh
# The first program of a gridvc node: see src/node/boot.ts of gridvc.
PATH=/bin
export PATH
fail() {
  echo "gridvc: this node cannot boot: $1"
  sync
  sleep 1
  poweroff -f
}
mount -t devtmpfs -o mode=755 dev /dev
mount -t proc -o nosuid,noexec,nodev proc /proc
mount -t sysfs -o nosuid,noexec,nodev sysfs /sys
exec < /dev/console > /dev/console 2>&1
read -r up rest < /proc/uptime
echo "gridvc: kernel $(uname -r) is up after $up s"
while read -r module; do
  insmod "/modules/$module" || echo "gridvc: module $module was refused"
done < /modules/order
for word in $(cat /proc/cmdline); do
  case "$word" in
  gridvc.layers=*) layers=\${word#*=} ;;
  gridvc.disk=*) disk=\${word#*=} ;;
  gridvc.address=*) address=\${word#*=} ;;
  gridvc.gateway=*) gateway=\${word#*=} ;;
  gridvc.name=*) name=\${word#*=} ;;
  esac
done
hostname "$name"
await() {
  tries=600
  until [ -e "$1" ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "$1 did not appear within 30 s"
    sleep 0.05
  done
}
# the network card first: its other end needs a moment, and nothing here waits for it
await /sys/class/net/eth0
ip link set lo up
ip addr add "$address" dev eth0 && ip link set eth0 up && ip route add default via "$gateway" || fail "address $address with gateway $gateway was refused"
lower=
IFS=,
for layer in $layers; do
  unset IFS
  await "/dev/$layer"
  mkdir -p "/layers/$layer"
  mount -t squashfs -o ro "/dev/$layer" "/layers/$layer" || fail "layer $layer cannot be mounted"
  lower=/layers/$layer\${lower:+:$lower}
done
unset IFS
await "/dev/$disk"
mount -t ext4 -o noatime "/dev/$disk" /private || fail "the private disk $disk cannot be mounted"
mount -t overlay -o "lowerdir=$lower,upperdir=/private/upper,workdir=/private/work,redirect_dir=off,metacopy=off,index=off" overlay /root || fail 'the layers cannot be stacked'
cd /root
mkdir -p dev proc sys run tmp
mount -t proc -o nosuid,noexec,nodev proc proc
mount -t tmpfs -o nosuid,nodev,mode=755,size=32m tmpfs run
mkdir run/lock
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=5m tmpfs run/lock
mount -o move /sys sys
mount -o move /dev dev
mkdir -p dev/pts dev/shm dev/mqueue
chmod 666 dev/net/tun
mount -t devpts -o nosuid,noexec,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 shm dev/shm
mount -t mqueue -o nosuid,noexec,nodev mqueue dev/mqueue
ln -sf /proc/self/fd dev/fd
ln -sf /proc/self/fd/0 dev/stdin
ln -sf /proc/self/fd/1 dev/stdout
ln -sf /proc/self/fd/2 dev/stderr
# a release whose /lib is not /usr/lib
version=$(uname -r)
if [ ! -e "lib/modules/$version" ]; then mkdir -p lib/modules && ln -s "/usr/lib/modules/$version" "lib/modules/$version"; fi
if [ -f /private/context.tar ]; then
  # Inside the root: links of packages lead where they lead in the node. By its path: busybox would take its own tar.
  chroot . /bin/tar --extract --file=- --numeric-owner --preserve-permissions < /private/context.tar || fail "the node's own files cannot be written: is its disk full?"
  rm /private/context.tar
fi
echo ${poweroffPath} > /proc/sys/kernel/poweroff_cmd
cd /
read -r up rest < /root/proc/uptime
echo "gridvc: the layers are stacked after $up s; over to ${initPath}"
exec switch_root -c /dev/console /root ${initPath}
`;

const poweroff = `#!/bin/sh
# Called by the kernel when the node is asked to end.
sync
echo o > /proc/sysrq-trigger
`;

/** Files of the kernel's layer that the running node uses. */
export const bootFiles: readonly InitFile[] = [{ path: poweroffPath, mode: 0o755, text: poweroff }];

/** Directories that the initial RAM disk has from the start. */
export const bootDirectories = ['bin', 'dev', 'proc', 'sys', 'root', 'layers', 'private', 'modules'] as const;
