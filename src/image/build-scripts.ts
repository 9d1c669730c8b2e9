/** The constant shell scripts of the builds, run by jail.ts with `set -eu`. All data comes as positional arguments. */

/** Packages of every base layer: what a node needs before anybody asks for anything. */
export const basePackages = [
  'openssh-server', 'openssh-client', 'openvpn', 'runit', 'iproute2', 'iputils-ping', 'ca-certificates', 'procps', 'sudo', 'netbase', 'orphan-sysvinit-scripts',
] as const;

/** Arguments: target directory, suite, packages with commas, file of apt settings, then source files. */
export const baseScript = `
target=$1 suite=$2 packages=$3 settings=$4
shift 4
# The directories that mmdebstrap mounts over must not be seen by the machine.
mount --make-rprivate /
mmdebstrap --mode=root --format=directory --variant=minbase \\
  --aptopt="$settings" \\
  --dpkgopt=force-unsafe-io \\
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \\
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \\
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \\
  --include="$packages" "$suite" "$target" "$@"
chroot "$target" groupadd --gid 1000 grid
chroot "$target" useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash --comment 'grid user' grid
chroot "$target" usermod --password '*' grid
printf 'grid ALL=(ALL) NOPASSWD: ALL\\n' > "$target/etc/sudoers.d/grid"
chmod 440 "$target/etc/sudoers.d/grid"
cd "$target"
mv etc/dpkg/dpkg.cfg.d/99mmdebstrap etc/dpkg/dpkg.cfg.d/gridvc
rm -f etc/ssh/ssh_host_* etc/apt/apt.conf.d/99mmdebstrap usr/sbin/policy-rc.d etc/resolv.conf etc/hostname
rm -f var/log/*.log var/log/apt/* var/cache/apt/*.bin var/cache/debconf/*-old var/cache/ldconfig/aux-cache etc/passwd- etc/group- etc/shadow- etc/gshadow-
rm -rf var/lib/apt/lists/* run/* tmp/*
# Maintainer scripts (update-alternatives of Java, for one) fail where the directories of the left-out manual pages lack.
mkdir -p usr/share/man/man1 usr/share/man/man2 usr/share/man/man3 usr/share/man/man4 usr/share/man/man5 usr/share/man/man6 usr/share/man/man7 usr/share/man/man8
: > etc/machine-id
# Debian's runit looks after its own services; a node has its own list.
rm -f etc/runit/runsvdir/default/*
`;

/** Arguments: directory to pack, target file. The exclusions are mount points in a node. */
export const packScript = `
mksquashfs "$1" "$2" -comp zstd -Xcompression-level 1 -processors 2 -noappend -no-progress -quiet -wildcards -e 'dev/*' 'proc/*' 'sys/*' 'run/*'
`;

/** The same for a layer of .debs: they are compressed already, and nodes read them once. */
export const debsScript = `
mksquashfs "$1" "$2" -noI -noD -noF -noX -no-xattrs -all-root -noappend -no-progress -quiet
`;

/**
 * Arguments: staging directory, number of layers below, their files (the base first), then package names to be marked as installed by hand.
 * The .debs are in <staging>/debs. apt's status goes to file descriptor 3.
 */
export const deltaScript = `
stage=$1 below=$2
shift 2
mount --make-rprivate /
cd "$stage"
mkdir upper work root
lower=
for n in $(seq "$below"); do
  mkdir lower$n
  mount -t squashfs -o loop,ro "$1" lower$n
  lower=lower$n\${lower:+:$lower}
  shift
done
mount -t overlay overlay -o lowerdir=$lower,upperdir=upper,workdir=work,redirect_dir=off,metacopy=off,index=off,xino=off root
mount -t proc -o nosuid,nodev,noexec proc root/proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs root/sys
mount -t tmpfs -o mode=755,size=1m tmpfs root/dev
for node in null zero full random urandom tty; do
  : > root/dev/$node
  mount --bind /dev/$node root/dev/$node
done
mkdir root/dev/pts root/dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts root/dev/pts
ln -s pts/ptmx root/dev/ptmx
ln -s /proc/self/fd root/dev/fd
mount -t tmpfs -o mode=1777 tmpfs root/dev/shm
mount -t tmpfs -o mode=755 tmpfs root/run
mount -t tmpfs -o mode=1777 tmpfs root/tmp
mkdir root/run/lock root/run/debs
chmod 1777 root/run/lock
mount --bind debs root/run/debs
printf '#!/bin/sh\\nexit 101\\n' > root/usr/sbin/policy-rc.d
chmod 755 root/usr/sbin/policy-rc.d
hostname localhost
ip link set lo up 2> /dev/null || true
rc=0
chroot root /bin/sh -c 'exec apt-get -q -y --no-install-recommends --no-remove --allow-downgrades -o APT::Status-Fd=3 -o Dpkg::Use-Pty=0 -o DPkg::Options::=--force-unsafe-io -o DPkg::Options::=--force-confold -o APT::Sandbox::User= -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=/dev/null install /run/debs/*.deb' || rc=$?
if [ $rc = 0 ]; then chroot root apt-mark -q manual "$@" > /dev/null 2>&1 3>&- || true; fi
[ $rc = 0 ] || exit $rc
rm -f root/usr/sbin/policy-rc.d
rm -f root/var/log/apt/* root/var/log/dpkg.log root/var/log/alternatives.log root/var/log/bootstrap.log root/var/cache/apt/*.bin root/var/cache/apt/archives/*.deb
rm -f root/var/cache/debconf/*-old root/var/cache/ldconfig/aux-cache root/var/lib/dpkg/status-old root/var/lib/dpkg/available-old root/etc/ssh/ssh_host_*
rm -rf root/var/lib/apt/lists/*
`;
