/**
 * What the container driver does on a host, as one constant POSIX shell script: sent once, kept under
 * its digest, called with a verb and checked words (paths, names, numbers). One call of it is one
 * round trip, and the steps inside are as few programs as possible, since fifty nodes start at once and
 * starting a program is what costs (measured: 30 programs a node less made fifty nodes a third faster).
 *
 * Under the host's home:  layers/<digest>.sqfs        mnt/<digest>  mnt/<digest>.users/<id>
 *   nodes/<id>/disk.img (sparse ext4, the disk limit)  rw (its mount: upper, work, console.log)
 *   root (overlay: the node's root)  config.json settings defined pid   templates/overlay-<MiB>.ext4  runc/
 * Every step finds out what is there already, so each verb may be repeated after a crash.
 */
import { overlayTemplate } from './host-script.js';

export const containerScript = `#!/bin/sh
set -eu
umask 022
home=$1 verb=$2
shift 2

fail() { echo "$2" >&2; exit "$1"; }
runc_() { runc --root "$home/runc" "$@"; }
known_to_runc() { [ -d "$home/runc/$1" ]; }
running() { known_to_runc "$1" && runc_ state "$1" 2> /dev/null | grep -q '"status": "running"'; }
# a directory that is a mount point of ours holds something exactly while it is mounted; no program is needed to see that
filled() { for inside in "$1"/*; do [ -e "$inside" ] || [ -L "$inside" ]; return; done; }
link_of() { link=v\${1%%-*}\${1##*-}; }
forget_container() { if known_to_runc "$1"; then runc_ delete --force "$1" 2> /dev/null || rm -rf "$home/runc/$1"; fi; }

# id, then digests: mounts what is not mounted and notes the user, in one locked step
take_layers() (
  id=$1
  shift
  exec 9> "$home/mnt/.lock"
  flock 9
  for digest; do
    if ! filled "$home/mnt/$digest"; then
      [ -f "$home/layers/$digest.sqfs" ] || fail 3 "layer $digest is not on this host"
      mkdir -p "$home/mnt/$digest" "$home/mnt/$digest.users"
      mount -t squashfs -o loop,ro "$home/layers/$digest.sqfs" "$home/mnt/$digest" 9>&-
    fi
    : > "$home/mnt/$digest.users/$id"
  done
)

# the last user of a layer unmounts it
leave_layers() (
  id=$1
  [ -d "$home/mnt" ] || return 0
  exec 9> "$home/mnt/.lock"
  flock 9
  for users in "$home"/mnt/*.users; do
    [ -d "$users" ] || continue
    rm -f "$users/$id"
    if rmdir "$users" 2> /dev/null; then
      layer=\${users%.users}
      if filled "$layer"; then umount "$layer" || umount -l "$layer"; fi
      rmdir "$layer"
    fi
  done
)

${overlayTemplate}
# id: reads settings into variables
read_settings() {
  { read -r address; read -r gateway; read -r bridge; read -r mac; read -r lower; } < "$home/nodes/$1/settings"
}

# id: layers, disk and root are mounted afterwards
mount_root() {
  dir=$home/nodes/$1
  take_layers "$1" $lower
  if ! filled "$dir/rw"; then mount -t ext4 -o loop,noatime "$dir/disk.img" "$dir/rw"; fi
  if ! filled "$dir/root"; then
    over=
    for digest in $lower; do over=$digest\${over:+:$over}; done
    (cd "$home/mnt" && mount -t overlay -o "lowerdir=$over,upperdir=$dir/rw/upper,workdir=$dir/rw/work,redirect_dir=off,metacopy=off,index=off" overlay "$dir/root")
  fi
}

unmount() { if filled "$1"; then umount "$1" 2> /dev/null || umount -l "$1"; fi; }

# id: network namespace and link go; the link by name, since a namespace's end is only soon
drop_network() {
  link_of "$1"
  ip link del dev "$link" 2> /dev/null || true
  if [ -e "/run/netns/gvn-$1" ]; then ip netns del "gvn-$1" 2> /dev/null || { umount -l "/run/netns/gvn-$1" 2> /dev/null || true; rm -f "/run/netns/gvn-$1"; }; fi
}

# id: all that the node had on this host; each step may find its work done
undo() {
  forget_container "$1"
  unmount "$home/nodes/$1/root"
  unmount "$home/nodes/$1/rw"
  drop_network "$1"
  leave_layers "$1"
  rm -rf --one-file-system "$home/nodes/$1"
  # The parent group goes with the last node. Starts hold the lock shared, so none loses it in between.
  ( exec 8< /sys/fs/cgroup
    flock -n 8 || exit 0
    rmdir /sys/fs/cgroup/gridvc/"$1" /sys/fs/cgroup/*/gridvc/"$1" /sys/fs/cgroup/gridvc /sys/fs/cgroup/*/gridvc 2> /dev/null || true )
}

case $verb in

# id, config.json, disk MiB, address, gateway, bridge, MAC address, digests lowest first; a tar of the context on stdin
define)
  id=$1 config=$2 disk=$3
  dir=$home/nodes/$id
  if [ -d "$dir" ]; then
    if running "$id"; then cat > /dev/null; exit 0; fi
    undo "$id"
  fi
  mkdir -p "$dir/rw" "$dir/root" "$home/mnt" "$home/templates" "$home/runc"
  address=$4 gateway=$5 bridge=$6 mac=$7
  shift 7
  lower=$*
  printf '%s\\n' "$address" "$gateway" "$bridge" "$mac" "$lower" > "$dir/settings"
  template "$disk"
  cp --sparse=always "$home/templates/overlay-$disk.ext4" "$dir/disk.img"
  mount_root "$id"
  printf '%s' "$config" > "$dir/config.json"
  # Inside the root: a link of some package must not lead us out to the host's files.
  chroot "$dir/root" tar --extract --file=- --numeric-owner --preserve-permissions
  : > "$dir/defined"
  ;;

# id
start)
  id=$1
  dir=$home/nodes/$id
  [ -f "$dir/defined" ] || fail 44 "node $id was never defined here"
  if known_to_runc "$id"; then
    if running "$id"; then exit 0; fi
    forget_container "$id"
  fi
  read_settings "$id"
  link_of "$id"
  if ! filled "$dir/root"; then mount_root "$id"; fi
  if [ -e "/run/netns/gvn-$id" ]; then drop_network "$id"; fi
  # fe: a bridge without an address of its own takes its lowest port's; were it a node's, it would change as nodes come and go
  ip -batch - << END || fail 3 "network of node $id could not be made on bridge $bridge"
netns add gvn-$id
link add $link address fe\${mac#02} type veth peer name eth0 address $mac netns gvn-$id
link set dev $link master $bridge up
link set dev $link type bridge_slave isolated on
END
  ip -n "gvn-$id" -batch - << END || fail 3 "address $address with gateway $gateway could not be given to node $id"
link set dev lo up
addr add $address dev eth0
link set dev eth0 up
route add default via $gateway
END
  # The console is on the node's own disk: a node cannot fill the host's.
  exec 8< /sys/fs/cgroup
  flock -s 8
  runc_ --log "$dir/runc.log" run --detach --bundle "$dir" --pid-file "$dir/pid" "$id" < /dev/null > "$dir/rw/console.log" 2>&1 8<&- || {
    tail -n 3 "$dir/runc.log" "$dir/rw/console.log" >&2
    forget_container "$id"
    fail 3 "runc could not start node $id: $(tail -n 1 "$dir/runc.log" | cut -c 1-300)"
  }
  ;;

# id, tenths of a second between TERM and KILL
stop)
  id=$1 tenths=$2
  dir=$home/nodes/$id
  known_to_runc "$id" || exit 0
  if [ "$tenths" -gt 0 ] && running "$id"; then
    pid=$(cat "$dir/pid")
    runc_ kill "$id" TERM 2> /dev/null || true
    # A dead one that nobody has waited for yet has no program any more.
    while [ "$tenths" -gt 0 ] && [ -e "/proc/$pid/exe" ]; do
      sleep 0.1
      tenths=$((tenths - 1))
    done
  fi
  forget_container "$id"
  drop_network "$id"
  ;;

# id
remove)
  undo "$1"
  ;;

# the last lines that the node's init wrote; the file is ours, not one that the node can replace
console)
  if [ -f "$home/nodes/$1/rw/console.log" ]; then tail -c 65536 "$home/nodes/$1/rw/console.log" | tail -n 100; fi
  ;;

list)
  for dir in "$home"/nodes/*; do
    if [ -d "$dir" ]; then echo "node \${dir##*/}"; fi
  done
  if [ -d "$home/runc" ]; then runc_ list --format json; fi
  ;;

# bridge
check)
  mkdir -p "$home"
  for program in runc ip mount mkfs.ext4 flock tar nsenter; do
    if command -v "$program" > /dev/null; then echo "has $program"; fi
  done
  for fs in squashfs overlay ext4; do
    grep -qw "$fs" /proc/filesystems || modprobe -q "$fs" 2> /dev/null || true
    if grep -qw "$fs" /proc/filesystems; then echo "has $fs"; fi
  done
  if [ -c /dev/net/tun ]; then echo "has tun"; fi
  if [ -c /dev/loop-control ]; then echo "has loop"; fi
  if [ -d "/sys/fs/cgroup/memory" ] || grep -qw memory /sys/fs/cgroup/cgroup.controllers 2> /dev/null; then echo "has cgroup"; fi
  if ip link show dev "$1" type bridge > /dev/null 2>&1; then echo "has bridge"; fi
  if [ "$(id -u)" = 0 ]; then echo "has root"; fi
  while read -r name value unit; do
    if [ "$name" = MemTotal: ]; then echo "memory $((value / 1024))"; fi
  done < /proc/meminfo
  echo "disk $(df --output=avail --block-size=1M "$home" | tail -n 1 | tr -d ' ')"
  echo "vcpus $(nproc)"
  ;;

*) fail 2 "unknown verb $verb" ;;
esac
`;
