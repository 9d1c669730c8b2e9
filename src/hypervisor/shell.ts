/**
 * Shell functions that the drivers' scripts share. They need `home` (the host's directory for layers and nodes), and
 * of the script itself `hold DIGEST` and `let_go DIGEST`: what a node needs of a layer on this kind of host, and its end.
 *
 * A call may be cut at any moment, with its programs in the middle of a system call. So each call holds its node's lock, its
 * programs inherit the lock (but for those that outlive the call), and the next call waits until the last of them is gone.
 */
export const sharedFunctions = `fail() { echo "$2" >&2; exit "$1"; }
# a directory that is a mount point of ours holds something exactly while it is mounted; no program is needed to see that
filled() { for inside in "$1"/*; do [ -e "$inside" ] || [ -L "$inside" ]; return; done; }
unmount() { if filled "$1"; then umount "$1" 2> /dev/null || umount -l "$1"; fi; }

# id, file, seconds: one call at a time for a node
lock_node() {
  lock=$2
  while :; do
    exec 7> "$lock"
    flock -w "$3" 7 || fail 3 "an earlier command for node $1 is still at work"
    if [ "$lock" -ef /proc/self/fd/7 ]; then return; fi
  done
}

# directory of the node: its lock goes with it; who waits for the file sees that it is not the one by this name any more
drop_lock() { if [ ! -d "$1" ]; then rm "$lock"; fi; }

# directory of notes, user, then digests: each is noted as used, then held, in one locked step
take_layers() (
  notes=$1 user=$2
  shift 2
  exec 9> "$notes/.lock"
  flock 9
  for digest; do
    [ -f "$home/layers/$digest.sqfs" ] || fail 3 "layer $digest is not on this host"
    [ -d "$notes/$digest.users" ] || mkdir "$notes/$digest.users"
    : > "$notes/$digest.users/$user"
    hold "$digest"
  done
)

# directory of notes, user: the last user of a layer lets it go. The directory of its users goes last: while it is there, nobody may
# be in it, and the next call finds what one that was cut has left
leave_layers() (
  notes=$1 user=$2
  [ -d "$notes" ] || return 0
  exec 9> "$notes/.lock"
  flock 9
  for users in "$notes"/*.users; do
    [ -d "$users" ] || continue
    if [ -e "$users/$user" ]; then rm "$users/$user"; fi
    if filled "$users"; then continue; fi
    digest=\${users##*/}
    let_go "\${digest%.users}"
    rmdir "$users"
  done
)

# MiB: a file system of this size with the two directories of an overlay, made once
template() {
  template=$home/templates/overlay-$1.ext4
  [ -f "$template" ] && return
  mkdir -p "$template.$$.d/upper" "$template.$$.d/work"
  # No journal: a node's disk does not outlive its host's crash, and half the writes are saved.
  truncate -s "$1M" "$template.$$"
  mkfs.ext4 -q -F -m 0 -d "$template.$$.d" -O ^has_journal -E lazy_itable_init=1,nodiscard "$template.$$" || fail 3 "mkfs.ext4 failed for $template"
  mv -f "$template.$$" "$template"
  rm -rf "$template.$$.d"
}
`;
