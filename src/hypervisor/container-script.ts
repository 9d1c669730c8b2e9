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
import { sharedFunctions } from './shell.js';

export const containerScript = `#!/bin/sh
set -eu
umask 022
home=$1 verb=$2
shift 2

${sharedFunctions}
runc_() { runc --root "$home/runc" "$@"; }
known_to_runc() { [ -d "$home/runc/$1" ]; }
running() { known_to_runc "$1" && runc_ state "$1" 2> /dev/null | grep -q '"status": "running"'; }
link_of() { link=v\${1%%-*}\${1##*-}; }
lock() { [ -d "$home/nodes" ] || mkdir -p "$home/nodes"; lock_node "$1" "$home/nodes/.$1.lock" 50; }

# id: its container goes, and what a runc that was cut has left: a mount of its own program among its files, which keeps
# them; in its groups an init that waits for ever, and that runc does not know
forget_container() {
  if known_to_runc "$1"; then
    for program in "$home/runc/$1"/runc.*; do
      if [ -e "$program" ]; then umount -l "$program" 2> /dev/null || true; fi
    done
    runc_ delete --force "$1" 2> /dev/null || true
    if known_to_runc "$1"; then rm -rf "$home/runc/$1"; fi
  fi
  for group in /sys/fs/cgroup/gridvc/"$1" /sys/fs/cgroup/*/gridvc/"$1"; do
    if [ -e "$group" ]; then end_group "$group"; fi
  done
}

# directory of a group: its processes end, the group goes with the last of them
end_group() {
  tries=40
  while ! rmdir "$1" 2> /dev/null && [ -e "$1" ] && [ $tries -gt 0 ]; do
    while read -r pid; do [ "$pid" -gt 1 ] && kill -KILL "$pid"; done 2> /dev/null < "$1/cgroup.procs" || true
    sleep 0.05
    tries=$((tries - 1))
  done
}

# digest: mounted, and its end
hold() {
  filled "$home/mnt/$1" && return
  [ -d "$home/mnt/$1" ] || mkdir "$home/mnt/$1"
  mount -t squashfs -o loop,ro "$home/layers/$1.sqfs" "$home/mnt/$1"
}
let_go() {
  unmount "$home/mnt/$1"
  [ ! -d "$home/mnt/$1" ] || rmdir "$home/mnt/$1"
}

# id: reads settings into variables
read_settings() {
  { read -r address; read -r gateway; read -r bridge; read -r mac; read -r lower; } < "$home/nodes/$1/settings"
}

# id: layers, disk and root are mounted afterwards
mount_root() {
  dir=$home/nodes/$1
  take_layers "$home/mnt" "$1" $lower
  if ! filled "$dir/rw"; then mount -t ext4 -o loop,noatime "$dir/disk.img" "$dir/rw"; fi
  if ! filled "$dir/root"; then
    over=
    for digest in $lower; do over=$digest\${over:+:$over}; done
    (cd "$home/mnt" && mount -t overlay -o "lowerdir=$over,upperdir=$dir/rw/upper,workdir=$dir/rw/work,redirect_dir=off,metacopy=off,index=off" overlay "$dir/root")
  fi
}

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
  leave_layers "$home/mnt" "$1"
  rm -rf --one-file-system "$home/nodes/$1"
  # The parent group goes with the last node. Starts hold the lock shared, so none loses it in between.
  ( exec 8< /sys/fs/cgroup
    flock -n 8 || exit 0
    rmdir /sys/fs/cgroup/gridvc /sys/fs/cgroup/*/gridvc 2> /dev/null || true )
}

case $verb in

# id, config.json, disk MiB, address, gateway, bridge, MAC address, digests lowest first; a tar of the context on stdin
define)
  id=$1 config=$2 disk=$3
  dir=$home/nodes/$id
  lock "$id"
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
  lock "$id"
  drop_lock "$dir"
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
  runc_ --log "$dir/runc.log" run --detach --bundle "$dir" --pid-file "$dir/pid" "$id" < /dev/null > "$dir/rw/console.log" 2>&1 8<&- 7>&- || {
    tail -n 3 "$dir/runc.log" "$dir/rw/console.log" >&2
    forget_container "$id"
    fail 3 "runc could not start node $id: $(tail -n 1 "$dir/runc.log" | cut -c 1-300)"
  }
  ;;

# id, tenths of a second between TERM and KILL
stop)
  id=$1 tenths=$2
  dir=$home/nodes/$id
  lock "$id"
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
  drop_lock "$dir"
  ;;

# id
remove)
  lock "$1"
  undo "$1"
  drop_lock "$home/nodes/$1"
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
