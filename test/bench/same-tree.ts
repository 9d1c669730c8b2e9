/** Compares two file trees as listed by the shell (find -printf and sha256sum): what differs, but for what no two installations have alike. */

/** Why a path is left out of the comparison. */
const excluded: readonly (readonly [RegExp, string])[] = [
  [/^\.\/var\/log\//, 'logs'],
  [/^\.\/var\/cache\/(apt|debconf|ldconfig|fontconfig)(\/|$)/, 'caches with times in them'],
  [/^\.\/var\/lib\/apt\/lists(\/|$)/, "apt's lists: a layer has none"],
  [/^\.\/etc\/apt\/(sources\.list\.d\/|apt\.conf\.d\/99fetch)/, 'how the chroot fetches'],
  [/^\.\/etc\/(resolv\.conf|dpkg\/dpkg\.cfg\.d\/gridvc)$/, 'how the chroot fetches; its dpkg settings'],
  [/^\.\/usr\/sbin\/policy-rc\.d$/, 'starts no daemon in the chroot'],
  [/^\.\/var\/lib\/apt\/extended_states$/, 'compared apart'],
  [/^\.\/usr\/share\/octave\/octave_packages$/, 'written by Octave with the time of its installation'],
  [/^\.\/var\/lib\/dpkg\/(status|lock|lock-frontend)(-old)?$/, 'compared apart; locks'],
  [/^\.\/etc\/(passwd|group|shadow|gshadow|subuid|subgid)-$/, 'backups'],
];

/** Path to what is compared of it. */
export type Tree = ReadonlyMap<string, string>;

/** Reads lines "type mode uid gid size path TAB target", then "sha256  path". */
export function readTree(text: string): Tree {
  const tree = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, type, mode, uid, gid, size, path, target] = /^([a-z]) (\d+) (\d+) (\d+) (\d+) ([^\t]+)\t(.*)$/.exec(line) ?? [];
    if (path !== undefined) tree.set(path, [type, mode, uid, gid, type === 'f' ? size : '', target].join(' '));
    const [, sum, file] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? [];
    if (file !== undefined) tree.set(file, `${tree.get(file) ?? ''} ${sum}`);
  }
  return tree;
}

export function differences(left: Tree, right: Tree): { compared: number; different: string[] } {
  const paths = [...new Set([...left.keys(), ...right.keys()])].filter((path) => !excluded.some(([pattern]) => pattern.test(path))).sort();
  const different = paths.flatMap((path) => {
    const [before, after] = [left.get(path), right.get(path)];
    return before === after ? [] : [`${path}: ${before ?? 'only ours'} | ${after ?? 'only plain'}`];
  });
  return { compared: paths.length, different };
}
