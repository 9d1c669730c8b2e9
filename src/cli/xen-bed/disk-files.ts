/**
 * What turns Debian packages into a dom0 that is up in seconds also when every instruction is emulated: no systemd, no udev
 * (libxl runs the hotplug scripts itself), a small initrd, an uncompressed kernel. Constant text only; what differs
 * from machine to machine (name, addresses, host key, who may come in) is a tar on the machine's second drive.
 */

export const dom0Packages = [
  'xen-hypervisor-4.17-amd64', 'xen-utils-4.17', 'linux-image-amd64', 'openssh-server', 'iproute2', 'busybox-static', 'udev', 'kmod', 'procps', 'iputils-ping', 'squashfs-tools', 'util-linux-extra',
] as const;

/** Size of the machine's drive; it costs only what is written. */
export const diskMiB = 12 * 1024;

/** First program of the machine's initrd. */
const initrdInit = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod /modules/$module; done < /list
$b mount -t ext4 -o rw,noatime /dev/vda /new
$b mount --move /dev /new/dev
exec $b switch_root /new /sbin/init
`;

const inittab = `::sysinit:/usr/lib/bed/boot
::ctrlaltdel:/bin/busybox reboot -f
`;

/** Says how long after power-on each thing was there: the console of a slow boot tells why. */
const boot = `#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
said() { read -r now idle < /proc/uptime; echo "bed: $now $1"; }
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/xen /run/lock /run/xenstored /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t xenfs xenfs /proc/xen
ln -sf /proc/self/fd /dev/fd
tar -xf /dev/vdb -C /
. /etc/bed
hostname "$name"
modprobe -a virtio_net bridge loop xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xen-blkback xen-netback
said modules
ip link set lo up
ip link add xenbr0 address "$bridge_mac" type bridge stp_state 0 forward_delay 0
ip link set eth0 master xenbr0 up
ip addr add "$address" dev xenbr0
ip link set xenbr0 up
ip route add default via "$gateway"
xen=/usr/lib/xen-4.17/bin
$xen/xenstored --pid-file /run/xenstore.pid
$xen/xen-init-dom0 > /dev/null
$xen/xenconsoled --pid-file=/run/xenconsoled.pid --log=guest --log-dir=/var/log/xen/console
said xen
# Last: who can come in finds a whole dom0.
/usr/sbin/sshd && said ready
`;

const sshd = `PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 50
MaxSessions 100
HostKey /etc/ssh/ssh_host_ed25519_key
`;

/** Files of the tree: path, mode, text. */
export const dom0Files: readonly { readonly path: string; readonly mode: number; readonly text: string }[] = [
  { path: 'usr/lib/bed/initrd-init', mode: 0o755, text: initrdInit },
  { path: 'usr/lib/bed/boot', mode: 0o755, text: boot },
  { path: 'etc/inittab', mode: 0o644, text: inittab },
  { path: 'etc/ssh/sshd_config.d/bed.conf', mode: 0o644, text: sshd },
];

/** Arguments: tree, suite, packages with commas, file of apt settings, then source files. The kernel's own initrd is not made: it is 30 MB and nobody boots it. */
export const treeScript = `
tree=$1 suite=$2 packages=$3 settings=$4
shift 4
mount --make-rprivate /
INITRD=No
export INITRD
mmdebstrap --mode=root --format=directory --variant=minbase --aptopt="$settings" --dpkgopt=force-unsafe-io \\
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \\
  --include="$packages" "$suite" "$tree" "$@"
`;

/** Arguments: tree, directory for disk.img, xen, vmlinuz, vmlinux and initrd, disk MiB. After dom0Files are in the tree. */
export const packScript = `
tree=$1 out=$2 size=$3
mount --make-rprivate /
mount -t proc proc "$tree/proc"
chroot "$tree" sh -eu << 'END'
kernel=$(ls /lib/modules)
work=/tmp/initrd
mkdir -p $work/bin $work/modules $work/dev $work/new
cp /bin/busybox $work/bin/
cp /usr/lib/bed/initrd-init $work/init
for module in virtio_blk virtio_pci crc32c_generic ext4; do modprobe -S "$kernel" --show-depends $module; done |
  while read -r what file rest; do
    [ "$what" = insmod ] || continue
    name=\${file##*/}
    [ ! -e $work/modules/$name ] || continue
    cp "$file" $work/modules/
    echo $name >> $work/list
  done
(cd $work && busybox find . | busybox cpio -o -H newc 2> /dev/null | gzip -1) > /boot/initrd.bed
rm -rf $work
ln -sf /bin/busybox /sbin/init
rm -f /etc/ssh/ssh_host_* /etc/resolv.conf /etc/hostname
rm -rf /var/cache/apt/* /var/lib/apt/lists/*
mkdir -p /var/log/xen/console /root/.ssh
chmod 700 /root/.ssh
END
umount "$tree/proc"
gunzip -c "$tree"/boot/xen-4.17-amd64.gz > "$out/xen"
cp "$tree"/boot/vmlinuz-* "$out/vmlinuz"
# The ELF file inside (setup_sects, payload_offset, payload_length of the boot protocol): Xen would unpack it at each boot, slowly.
number() { od -An -v -j "$1" -N "$2" -t "u$2" "$out/vmlinuz" | tr -d ' '; }
start=$((($(number 497 1) + 1) * 512 + $(number 584 4)))
tail -c +$((start + 1)) "$out/vmlinuz" | head -c $(($(number 588 4) - 4)) | xz -dc > "$out/vmlinux"
mv "$tree/boot/initrd.bed" "$out/initrd"
rm -f "$tree"/boot/*
truncate -s "\${size}M" "$out/disk.img"
mkfs.ext4 -q -F -m 0 -d "$tree" -E lazy_itable_init=1,nodiscard "$out/disk.img"
`;
