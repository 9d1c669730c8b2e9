/**
 * What the Xen driver does on a dom0, as constant POSIX shell scripts: sent once, kept under their digests, called
 * with checked words (paths, names, numbers). One call of a verb is one round trip, and the steps inside are as few
 * programs as possible: a dom0 has one or two processors for all its domains' devices.
 *
 * Under the host's home:  layers/<digest>.sqfs     loops/<digest>.users/<owner>.<id>     mnt/<digest> (kernel layers)
 *   xen/<owner>/<id>/disk.img (sparse ext4, the disk limit)  domain.cfg (typed by xen-config.ts)  xl.cfg (with disks)
 *     settings defined begun started console.log           templates/overlay-<MiB>.ext4
 * A layer has one read-only loop device per host, released with its last domain; a private disk has its own.
 * Domains are named gv-<owner>-<id>: one head touches only its own. They are created without a watching process
 * (xl create -e) and all their ends are "preserve": a dead one stays, with its console, until we remove it.
 * Every step finds out what is there already, so each verb may be repeated after a crash.
 */
import { sharedFunctions } from './shell.js';

export const xenScript = `#!/bin/sh
set -eu
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p "$1"
cd -P -- "$1"
home=$PWD owner=$2 verb=$3
shift 3
nodes=$home/xen/$owner

${sharedFunctions}
lock() { lock_node "$1" "/run/lock/gridvc-$owner-$1" 110; }

# id: sets state to none, half (made, but never started), running or dead
look() {
  state=none
  line=$(xl list "gv-$owner-$1" 2> /dev/null | tail -n 1) || return 0
  set -- $line
  [ $# -ge 6 ] || return 0
  while [ $# -gt 2 ]; do shift; done
  case "$1" in
  *[sc]* | *d*) state=dead ;;
  *p*) if [ -e "$dir/started" ]; then state=running; else state=half; fi ;;
  *) state=running ;;
  esac
}

# file: sets loop to its device, or to nothing; what takes itself away by itself is not ours
loop_of() {
  loop=
  for backing in /sys/block/loop*/loop/backing_file; do
    read -r file 2> /dev/null < "$backing" || continue
    case "$file" in "$1" | "$1 (deleted)") ;; *) continue ;; esac
    read -r auto 2> /dev/null < "\${backing%backing_file}autoclear" || continue
    if [ "$auto" = 0 ]; then
      loop=\${backing#/sys/block/}
      loop=/dev/\${loop%%/*}
      return
    fi
  done
}

# digest: it has a device, and its end
hold() {
  loop_of "$home/layers/$1.sqfs"
  [ -n "$loop" ] || losetup --find --read-only "$home/layers/$1.sqfs" || fail 3 "layer $1: no loop device is free"
}
let_go() {
  if [ -d "$home/mnt/$1" ]; then unmount "$home/mnt/$1"; rmdir "$home/mnt/$1"; fi
  loop_of "$home/layers/$1.sqfs"
  if [ -n "$loop" ]; then losetup --detach "$loop"; fi
}

# digest: the kernel's files can be read below mnt; its device is taken
mount_kernel() (
  exec 9> "$home/loops/.lock"
  flock 9
  if ! filled "$home/mnt/$1"; then
    mkdir -p "$home/mnt/$1"
    loop_of "$home/layers/$1.sqfs"
    said=$(mount -t squashfs -o ro "$loop" "$home/mnt/$1" 2>&1) || fail 3 "the layer of the kernel, $1 on $loop, cannot be mounted: $(echo $said)"
  fi
)

# id: what its console said since the last time comes to console.log; xenconsoled keeps the last mebibyte
drain() {
  id=$1
  number=$(xl domid "gv-$owner-$id" 2> /dev/null) || return 0
  tty=$(xenstore-read "/local/domain/$number/console/tty" 2> /dev/null) || return 0
  tries=20
  before=-1
  while [ $tries -gt 0 ]; do
    dd "if=$tty" iflag=nonblock,noctty bs=65536 count=64 2> /dev/null >> "$dir/console.log" || true
    size=$(stat -c %s "$dir/console.log")
    if [ "$size" = "$before" ]; then break; fi
    before=$size
    tries=$((tries - 1))
    sleep 0.05
  done
  if [ "$size" -gt 524288 ]; then
    tail -c 262144 "$dir/console.log" > "$dir/console.new"
    mv -f "$dir/console.new" "$dir/console.log"
  fi
}

# id: the domain goes, whatever its state
destroy() {
  look "$1"
  if [ $state = none ]; then return; fi
  xl destroy "gv-$owner-$1" 7>&- || { look "$1"; [ $state = none ] || fail 3 "domain gv-$owner-$1 could not be destroyed"; }
}

# id: all that the node had on this host; each step may find its work done
undo() {
  dir=$nodes/$1
  destroy "$1"
  if [ -d "$dir/rw" ]; then unmount "$dir/rw"; fi
  loop_of "$dir/disk.img"
  if [ -n "$loop" ]; then losetup --detach "$loop"; fi
  leave_layers "$home/loops" "$owner.$1"
  rm -rf --one-file-system "$dir"
  rmdir "$nodes" 2> /dev/null || true
}

case $verb in

# id, disk MiB, digest of the kernel, digests lowest first, "--", the text of domain.cfg; a tar of the context on stdin
define)
  id=$1 disk=$2
  dir=$nodes/$id
  lock "$id"
  if [ -d "$dir" ]; then
    look "$id"
    if [ $state = running ] && [ -e "$dir/started" ]; then cat > /dev/null; exit 0; fi
    undo "$id"
  fi
  shift 2
  lower=
  while [ "$1" != -- ]; do
    [ -f "$home/layers/$1.sqfs" ] || fail 3 "layer $1 is not on this host"
    lower="$lower \${1}"
    shift
  done
  mkdir -p "$dir/rw" "$home/loops" "$home/mnt" "$home/templates"
  chmod 700 "$home/xen" "$dir"
  printf '%s\\n' "$lower" > "$dir/settings"
  printf '%s' "$2" > "$dir/domain.cfg"
  template "$disk"
  cp --sparse=always "$home/templates/overlay-$disk.ext4" "$dir/disk.img"
  # Nothing but our own template is on it yet: a disk that a node has written to is never mounted here.
  mount -t ext4 -o loop,noatime "$dir/disk.img" "$dir/rw"
  cat > "$dir/rw/context.tar" || { umount "$dir/rw"; fail 3 "the files of node $id cannot be written to its disk: No space left on device"; }
  umount "$dir/rw"
  : > "$dir/defined"
  ;;

# id
start)
  id=$1
  dir=$nodes/$id
  lock "$id"
  drop_lock "$dir"
  [ -f "$dir/defined" ] || fail 44 "node $id was never defined here"
  # What was never begun has no domain: asking xl would be a tenth of a start.
  if [ -e "$dir/begun" ]; then
    look "$id"
    if [ $state = running ] && [ -e "$dir/started" ]; then exit 0; fi
    if [ $state != none ]; then drain "$id"; destroy "$id"; fi
    rm -f "$dir/started"
  fi
  : > "$dir/begun"
  read -r lower < "$dir/settings"
  take_layers "$home/loops" "$owner.$id" $lower
  mount_kernel "\${lower%% *}"
  loop_of "$dir/disk.img"
  if [ -z "$loop" ]; then losetup --find "$dir/disk.img" || fail 3 'no loop device is free'; loop_of "$dir/disk.img"; fi
  disks="'format=raw,backendtype=phy,vdev=xvda,access=rw,script=$2,target=$loop'"
  letters='b c d e f g h i j k l m n o p q r s t u v w x y z'
  for digest in $lower; do
    loop_of "$home/layers/$digest.sqfs"
    disks="$disks, 'format=raw,backendtype=phy,vdev=xvd\${letters%% *},access=ro,script=$2,target=$loop'"
    letters=\${letters#* }
  done
  { cat "$dir/domain.cfg"; printf 'disk = [ %s ]\\n' "$disks"; } > "$dir/xl.cfg"
  if ! xl create -q -e "$dir/xl.cfg" > "$dir/create.log" 2>&1 7>&-; then
    tail -c 8192 "$dir/create.log" >&2
    destroy "$id"
    exit 4
  fi
  : > "$dir/started"
  ;;

# id, tenths of a second between the request and the end
stop)
  id=$1 tenths=$2
  dir=$nodes/$id
  lock "$id"
  look "$id"
  if [ $state = running ] && [ "$tenths" -gt 0 ]; then
    xl shutdown "gv-$owner-$id" > /dev/null 2>&1 || tenths=0
    while [ "$tenths" -gt 0 ]; do
      look "$id"
      [ $state = running ] || break
      sleep 0.2
      tenths=$((tenths - 2))
    done
  fi
  if [ -d "$dir" ]; then drain "$id"; fi
  destroy "$id"
  rm -f "$dir/started"
  drop_lock "$dir"
  ;;

# id
remove)
  lock "$1"
  undo "$1"
  drop_lock "$nodes/$1"
  ;;

# the last lines of the console
console)
  dir=$nodes/$1
  lock "$1"
  drop_lock "$dir"
  [ -d "$dir" ] || exit 0
  drain "$1"
  if [ -f "$dir/console.log" ]; then tail -c 65536 "$dir/console.log" | tail -n 100 | tr -d '\\r'; fi
  ;;

list)
  for dir in "$nodes"/*; do
    [ -d "$dir" ] || continue
    if [ -e "$dir/started" ]; then echo "node \${dir##*/} started"; else echo "node \${dir##*/} defined"; fi
  done
  echo domains
  xl list
  ;;

# bridge
check)
  for program in xl xenstore-read xenstore-write ip mount losetup mkfs.ext4 flock dd truncate; do
    if command -v "$program" > /dev/null; then echo "has $program"; fi
  done
  for module in xen-blkback xen-netback loop squashfs ext4; do modprobe -q "$module" 2> /dev/null || true; done
  for fs in squashfs ext4; do
    if grep -qw "$fs" /proc/filesystems; then echo "has $fs"; fi
  done
  if [ -d /sys/bus/xen-backend/drivers/vbd ]; then echo "has blkback"; fi
  if [ -d /sys/bus/xen-backend/drivers/vif ]; then echo "has netback"; fi
  if [ -c /dev/loop-control ]; then echo "has loop"; fi
  if ip link show dev "$1" type bridge > /dev/null 2>&1; then echo "has bridge"; fi
  if [ "$(id -u)" = 0 ]; then echo "has root"; fi
  if xenstore-read domid > /dev/null 2>&1 || xenstore-ls /local/domain/0 > /dev/null 2>&1; then echo "has xenstore"; fi
  if pgrep -x xenconsoled > /dev/null; then echo "has xenconsoled"; fi
  echo "disk $(df --output=avail --block-size=1M "$home" | tail -n 1 | tr -d ' ')"
  echo info
  xl info 2> /dev/null || true
  echo domains
  xl list 2> /dev/null || true
  ;;

*) fail 2 "unknown verb $verb" ;;
esac
`;

/** Called by xl for a domain's network card: onto the bridge, where neighbours do not see each other. */
export const vifScript = `#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ "$1" = online ] || exit 0
bridge=$(xenstore-read "$XENBUS_PATH/bridge")
if ip -batch - << END
link set dev $vif master $bridge
link set dev $vif type bridge_slave isolated on
link set dev $vif up
END
then exec xenstore-write "$XENBUS_PATH/hotplug-status" connected; fi
xenstore-write "$XENBUS_PATH/hotplug-error" "gridvc: $vif cannot be put on bridge $bridge" "$XENBUS_PATH/hotplug-status" error
exit 1
`;

/** Called by xl for a domain's disk: Debian's own script compares it with every other disk of the host, which costs most of a start. */
export const blockScript = `#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ "$1" = add ] || exit 0
device=$(xenstore-read "$XENBUS_PATH/params")
if IFS=: read -r major minor < "/sys/class/block/\${device#/dev/}/dev"; then
  number=$(printf '%x:%x' "$major" "$minor")
  exec xenstore-write "$XENBUS_PATH/physical-device" "$number" "$XENBUS_PATH/physical-device-path" "$device" "$XENBUS_PATH/hotplug-status" connected
fi
xenstore-write "$XENBUS_PATH/hotplug-error" "gridvc: there is no device $device" "$XENBUS_PATH/hotplug-status" error
exit 1
`;
