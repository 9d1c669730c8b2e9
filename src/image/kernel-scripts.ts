/** The constant shell scripts of the kernel's preparation, run by jail.ts with `set -eu`. All data comes as positional arguments. */

/** Arguments: staging directory with the .debs in <staging>/debs. Leaves the kernel's package in kernel/, busybox's in busybox/. */
export const unpackScript = `
cd "$1"
dpkg-deb -x debs/linux-image-*.deb kernel
dpkg-deb -x debs/busybox-static_*.deb busybox
`;

/**
 * Arguments: staging directory, kernel release, number of path patterns to keep, these, then those to leave out of them.
 * Makes tree/usr/lib/modules/<release> with its indices.
 */
export const modulesScript = `
cd "$1"
release=$2 kept=$3
shift 3
from=$PWD/kernel/lib/modules/$release
[ -d "$from" ] || from=$PWD/kernel/usr/lib/modules/$release
to=$PWD/tree/usr/lib/modules/$release
mkdir -p "$to/kernel"
cp "$from"/modules.builtin* "$from"/modules.order "$to/"
cd "$from/kernel"
while [ "$kept" -gt 0 ]; do
  for path in $1; do
    if [ -e "$path" ]; then cp --parents -R "$path" "$to/kernel/"; fi
  done
  kept=$((kept - 1))
  shift
done
for path; do rm -rf "$to/kernel/$path"; done
ln -s usr/lib "$to/../../../../lib"
depmod -b "$to/../../../.." "$release"
rm "$to/../../../../lib"
`;
