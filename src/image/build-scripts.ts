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

const squash = "-comp zstd -Xcompression-level 1 -processors 2 -noappend -no-progress -quiet -wildcards -e 'dev/*' 'proc/*' 'sys/*' 'run/*'";

/** Arguments: directory to pack, target file. The exclusions are mount points in a node. */
export const packScript = `
mksquashfs "$1" "$2" ${squash}
`;

/** The same for a layer of .debs: they are compressed already, and nodes read them once. */
export const debsScript = `
mksquashfs "$1" "$2" -noI -noD -noF -noX -no-xattrs -all-root -noappend -no-progress -quiet
`;

/**
 * What dpkg finds first on its PATH. dpkg-split: waits until the package is there (until then its file is empty); no package
 * comes in parts. dpkg-deb: gives what was decompressed ahead, and what nobody has begun it decompresses itself.
 */
const splitInFront = '#!/bin/sh\nfor file; do :; done\nwhile [ ! -s "$file" ]; do sleep 0.01; done\nexit 1\n';
const debInFront = `#!/bin/sh
if [ "$1" = --fsys-tarfile ]; then
  ahead=/run/gridvc/ahead/\${2##*/}
  set -C
  if true 2> /dev/null > "$ahead.begun"; then exec /usr/bin/dpkg-deb "$@"; fi
  while [ ! -e "$ahead.done" ]; do
    if [ -e "$ahead.failed" ]; then exec /usr/bin/dpkg-deb "$@"; fi
    sleep 0.005
  done
  exec cat "$ahead.tar"
fi
exec /usr/bin/dpkg-deb "$@"
`;

/**
 * fc-cache ends with two seconds of sleep (so that a font that comes later has a later time than the cache). Its files are written by then:
 * the maintainer script goes on when it sleeps; the build's end waits for its exit code.
 */
const fontsInFront = `#!/bin/sh
cd /run/gridvc
own=fonts.$$
{ rc=0; /usr/bin/fc-cache "$@" & echo $! > "$own.pid"; wait $! || rc=$?; echo $rc > "$own.end"; } &
while [ ! -s "$own.end" ]; do
  sleep 0.02
  if [ "$(cat "/proc/$(cat "$own.pid")/wchan" 2> /dev/null)" = hrtimer_nanosleep ]; then exit 0; fi
done
exit "$(cat "$own.end")"
`;

/**
 * Decompresses packages in the order of the plan, and until that is there, what has come, the biggest first; several run side by
 * side. A failure is left for dpkg to find and name.
 */
const decompressAhead = `set -C
decompress() {
  ahead=/run/gridvc/ahead/$1
  if true 2> /dev/null > "$ahead.begun"; then
    while [ ! -s "/run/debs/$1" ]; do sleep 0.02; done
    if /usr/bin/dpkg-deb --fsys-tarfile "/run/debs/$1" > "$ahead.tar"; then : > "$ahead.done"; else : > "$ahead.failed"; fi
  fi
}
while read -r file; do
  if [ -e /run/gridvc/files ]; then break; fi
  if [ -s "/run/debs/$file" ]; then decompress "$file"; fi
done < /run/gridvc/early
while [ ! -e /run/gridvc/files ]; do sleep 0.02; done
while read -r file; do decompress "$file"; done < /run/gridvc/files
`;

/**
 * Arguments: staging directory, bytes of memory to work in (0: on the disk), how many decompress ahead, number of layers below, their files (the base first), then
 * names of packages in them to be marked as asked for. In <staging>: debs/ (each file empty until its package is whole),
 * early (their names, the biggest first) and, once it appears, plan: lines "unpack files...", "configure names...", "finish"; files: all of them, a line each; auto: names of packages that nobody
 * asked for. Leaves layer.sqfs, status (dpkg's) and lists (lines of each package's file list). dpkg's status, and "gridvc: installing",
 * "gridvc: packing" and "gridvc: packed", go to file descriptor 3.
 *
 * The tree is a plain directory in memory: an overlay costs a third of the whole time. What changed is known by ctime,
 * which no program can set back.
 */
export const deltaScript = `
stage=$1 memory=$2 helpers=$3 below=$4
shift 4
mount --make-rprivate /
cd "$stage"
mkdir -p work
if [ "$memory" != 0 ]; then mount -t tmpfs -o mode=755,size="$memory" tmpfs work; fi
cd work
if [ "$below" = 1 ]; then
  unsquashfs -q -n -d root "$1" > /dev/null
  shift
else
  mkdir view
  lower=
  for n in $(seq "$below"); do
    mkdir lower$n
    mount -t squashfs -o loop,ro "$1" lower$n
    lower=lower$n\${lower:+:$lower}
    shift
  done
  mount -t overlay -o ro,lowerdir=$lower overlay view
  cp -a view root
  umount view
fi
(cd root && find . -mindepth 1 | LC_ALL=C sort) > base.list
: > stamp
sleep 0.02
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
mkdir -p ahead run root/run/lock root/run/debs root/run/gridvc/ahead
chmod 1777 root/run/lock
mount --bind "$stage/debs" root/run/debs
mount --bind ahead root/run/gridvc/ahead
printf '%s' '${splitInFront}' > root/run/gridvc/dpkg-split
printf '%s' '${debInFront}' > root/run/gridvc/dpkg-deb
printf '%s' '${decompressAhead}' > root/run/gridvc/decompress
printf '%s' '${fontsInFront}' > root/run/gridvc/fc-cache
chmod 755 root/run/gridvc/fc-cache root/run/gridvc/dpkg-split root/run/gridvc/dpkg-deb
printf '#!/bin/sh\\nexit 101\\n' > root/usr/sbin/policy-rc.d
chmod 755 root/usr/sbin/policy-rc.d
hostname localhost
ip link set lo up 2> /dev/null || true
cp "$stage/early" root/run/gridvc/early
while [ "$helpers" -gt 0 ]; do
  chroot root /bin/sh /run/gridvc/decompress > /dev/null 2>&1 3>&- < /dev/null &
  helpers=$((helpers - 1))
done
while [ ! -e "$stage/plan" ]; do sleep 0.02; done
cp "$stage/files" root/run/gridvc/files.new
mv root/run/gridvc/files.new root/run/gridvc/files
echo 'gridvc: installing' >&3
path=$PATH
set -f
dpkg() {
  PATH=/run/gridvc:$path chroot root /usr/bin/dpkg --status-fd 3 --force-unsafe-io --force-confold "$@" < /dev/null
}
names=$*
while read -r verb rest; do
  set -- $rest
  case $verb in
    unpack) dpkg --no-triggers --unpack --auto-deconfigure $(printf '/run/debs/%s ' "$@") ;;
    configure) dpkg --no-triggers --configure "$@" ;;
    finish) dpkg --configure --pending ;;
  esac
done < "$stage/plan"
set +f
arch=$(chroot root dpkg --print-architecture)
while read -r name; do
  printf 'Package: %s\\nArchitecture: %s\\nAuto-Installed: 1\\n\\n' "$name" "$arch"
done < "$stage/auto" >> root/var/lib/apt/extended_states
if [ -n "$names" ]; then chroot root apt-mark -q manual $names > /dev/null 2>&1 3>&- || true; fi
echo 'gridvc: packing' >&3
mkdir fonts
for fonts in root/run/gridvc/fonts.*.pid; do
  if [ -e "$fonts" ]; then mv root/var/log/fontconfig.log fonts/ 2> /dev/null || true; break; fi
done
mount --move root/run run
umount -R -l root/dev
umount -l run/gridvc/ahead run/debs root/tmp root/sys root/proc
rm -rf ahead
rm -f root/usr/sbin/policy-rc.d
rm -f root/var/log/apt/* root/var/log/dpkg.log root/var/log/alternatives.log root/var/log/bootstrap.log root/var/cache/apt/*.bin root/var/cache/apt/archives/*.deb
rm -f root/var/cache/debconf/*-old root/var/cache/ldconfig/aux-cache root/var/lib/dpkg/status-old root/var/lib/dpkg/available-old root/etc/ssh/ssh_host_*
rm -rf root/var/lib/apt/lists/*
(cd root/var/lib/dpkg/info && wc -l -- *.list) > "$stage/lists"
cp root/var/lib/dpkg/status "$stage/status"
cd root
find . -mindepth 1 | LC_ALL=C sort > ../now.list
LC_ALL=C comm -23 ../base.list ../now.list > ../gone.list
# Only what changed is packed; a directory goes if nothing in it is left.
find . -mindepth 1 -depth ! -cnewer ../stamp -print0 | xargs -0 rm -df 2> /dev/null || true
while read -r gone; do
  if [ -d "\${gone%/*}" ]; then mknod "$gone" c 0 0; fi
done < ../gone.list
cd ..
mksquashfs root "$stage/layer.sqfs" ${squash}
echo 'gridvc: packed' >&3
for fonts in run/gridvc/fonts.*.pid; do
  if [ ! -e "$fonts" ]; then continue; fi
  while [ ! -s "\${fonts%.pid}.end" ]; do sleep 0.02; done
  if [ "$(cat "\${fonts%.pid}.end")" != 0 ]; then cat fonts/* || true; echo 'dpkg: error processing package fontconfig (--configure): fc-cache failed'; exit 1; fi
done
`;
