/**
 * `npm run bench -- build`: the paper's second configuration (Octave and MPI) by plain `apt-get install` in a chroot, default
 * dpkg settings, against our builder: alternately, downloads included, the packages fetched anew each time. The results
 * are compared: every file and the dpkg database. The chroot leaves out the same documentation (path-exclude), as "same files" asks.
 */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Resolution } from '../../src/domain/image.js';
import { medianOf } from '../../src/domain/estimate/line.js';
import { runInJail } from '../../src/image/jail.js';
import type { BaseImage } from '../../src/ports.js';
import { lendBase, quiet, testBase, testCache, workshop, type Workshop } from '../support/layers.js';
import { differences, readTree } from './same-tree.js';

const asked = ['octave', 'openmpi-bin'];
const rounds = Number(process.env['GRIDVC_BENCH_ROUNDS'] ?? 3);

interface Run {
  readonly download: number;
  readonly install: number;
  readonly pack: number;
}

export async function benchBuild(): Promise<void> {
  const base = await testBase();
  const home = mkdtempSync(join(testCache, 'build-'));
  try {
    lendBase(base, home);
    const place = workshop(home, { archives: join(home, 'archives') });
    await place.catalogue.update(base.os, 24 * 3600);
    const resolution = await place.catalogue.resolve(base.os, base, asked);
    const bytes = resolution.packages.reduce((sum, entry) => sum + entry.debBytes, 0);
    console.log(`${asked.join(' ')}: ${resolution.packages.length} packages, ${(bytes / 1e6).toFixed(1)} MB of .debs, ${rounds} times each, alternately; fetched anew each time\n`);
    const plain: Run[] = [];
    const ours: Run[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const last = round === rounds - 1;
      plain.push(await plainInstall(place, base, home, last));
      ours.push(await ourBuild(place, base, home, resolution, last));
      console.log(`round ${round + 1}: plain ${describe(plain.at(-1))}; ours ${describe(ours.at(-1))}`);
    }
    report(plain, ours);
    console.log(compare(home));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** apt-get install in a fresh chroot of the base. With `keep` its tree's list stays in <home>/plain.tree and .status. */
async function plainInstall({ catalogue, store }: Workshop, base: BaseImage, home: string, keep: boolean): Promise<Run> {
  const dir = join(home, 'plain');
  const root = catalogue.root(base.os);
  const apt = join(home, 'plain-apt');
  mkdirSync(apt, { recursive: true });
  cpSync(join(root.dir, 'state/lists'), join(apt, 'lists'), { recursive: true });
  cpSync(root.sourcesDir, join(apt, 'sources'), { recursive: true });
  writeFileSync(join(apt, 'fetch.conf'), `${root.fetchSettings}Acquire::Languages "none";\n`);
  const times: number[] = [];
  const output: string[] = [];
  const failure = await runInJail({
    script: plainScript, args: [dir, store.path(base.digest), apt, keep ? join(home, 'plain') : '', ...asked], network: true, signal: quiet().signal,
    env: { DEBIAN_FRONTEND: 'noninteractive', DEBCONF_NONINTERACTIVE_SEEN: 'true' },
    onLine: (line) => {
      output.push(line);
      if (/^(gridvc: begin|Fetched .* in |gridvc: end)/.test(line)) times.push(performance.now() / 1000);
    },
  });
  rmSync(dir, { recursive: true, force: true });
  rmSync(apt, { recursive: true, force: true });
  const [begun, fetched, ended] = times;
  if (failure !== '' || begun === undefined || fetched === undefined || ended === undefined) throw new Error(`the plain installation failed: ${failure}\n${output.slice(-20).join('\n')}`);
  return { download: fetched - begun, install: ended - fetched, pack: 0 };
}

/** Our delta. With `keep` the list of the tree that a node would see stays in <home>/ours.tree and .status. */
async function ourBuild({ builder, store }: Workshop, base: BaseImage, home: string, resolution: Resolution, keep: boolean): Promise<Run> {
  for (const name of readdirSync(join(home, 'archives')).filter((file) => file.endsWith('.deb'))) rmSync(join(home, 'archives', name));
  const begun = performance.now();
  const built = await builder.delta(resolution, base, quiet());
  const wall = (performance.now() - begun) / 1000;
  const of = (stage: string): number => built.stages.find((one) => one.stage === stage)?.seconds ?? 0;
  if (keep) {
    const failure = await runInJail({ script: treeScript, args: [join(home, 'view'), store.path(base.digest), store.path(built.layer.digest), join(home, 'ours')], network: false, signal: quiet().signal, onLine: () => undefined });
    if (failure !== '') throw new Error(`the layer cannot be read: ${failure}`);
  }
  await builder.remove(built.layer.digest);
  return { download: of('download'), install: wall - of('download') - of('pack'), pack: of('pack') };
}

function report(plain: readonly Run[], ours: readonly Run[]): void {
  const median = (runs: readonly Run[], of: (run: Run) => number): number => medianOf(runs.map(of));
  const all = (run: Run): number => run.download + run.install + run.pack;
  const percent = (of: (run: Run) => number): string => `${((100 * median(ours, of)) / median(plain, all)).toFixed(0)} %`;
  console.log(`\nmedians: plain apt-get ${median(plain, all).toFixed(1)} s (download ${median(plain, (run) => run.download).toFixed(1)}, install ${median(plain, (run) => run.install).toFixed(1)})`);
  console.log(`         ours ${median(ours, all).toFixed(1)} s (waiting for downloads ${median(ours, (run) => run.download).toFixed(1)}, install ${median(ours, (run) => run.install).toFixed(1)}, packing the layer ${median(ours, (run) => run.pack).toFixed(1)})`);
  console.log(`installed: ${percent((run) => run.download + run.install)} of plain apt-get; with the layer packed: ${percent(all)}`);
}

function compare(home: string): string {
  const [plain, ours] = ['plain', 'ours'].map((name) => readTree(readFileSync(join(home, `${name}.tree`), 'utf8')));
  const stanzas = (name: string): string => readFileSync(join(home, name), 'utf8').trim().split('\n\n').sort().join('\n\n');
  if (plain === undefined || ours === undefined) return '';
  const found = differences(plain, ours);
  const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);
  return [
    `\nfiles compared (type, mode, owner, size, content, target): ${found.compared}; different: ${found.different.length}`,
    ...found.different.slice(0, 40).map((line) => `  ${line}`),
    ...[['/var/lib/dpkg/status', 'status'], ['/var/lib/apt/extended_states', 'auto']].map(([file, kind]) => {
      const [before, after] = [stanzas(`plain.${kind}`), stanzas(`ours.${kind}`)];
      return `${file}, stanzas sorted: ${before === after ? 'the same' : 'NOT the same'} (${digest(before)}, ${digest(after)}, ${before.split('\n\n').length} packages)`;
    }),
  ].join('\n');
}

function describe(run: Run | undefined): string {
  return run === undefined ? '' : `${(run.download + run.install + run.pack).toFixed(1)} s (${run.download.toFixed(1)} + ${run.install.toFixed(1)} + ${run.pack.toFixed(1)})`;
}

const listTree = `
list() {
  cd "$1"
  find . -mindepth 1 \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \\) -prune -o -printf '%y %m %U %G %s %p\\t%l\\n' > "$2.tree"
  find . \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \\) -prune -o -type f -print0 | xargs -0 sha256sum >> "$2.tree"
  cp var/lib/dpkg/status "$2.status"
  cp var/lib/apt/extended_states "$2.auto"
}
`;

/** Arguments: directory, base layer, directory with apt's lists, sources and fetch.conf, prefix of the lists to keep or "", packages. */
const plainScript = `${listTree}
dir=$1 base=$2 apt=$3 keep=$4
shift 4
mount --make-rprivate /
mkdir -p "$dir"
unsquashfs -q -n -d "$dir/root" "$base" > /dev/null
root=$dir/root
mkdir -p "$root/var/lib/apt" "$root/etc/apt/sources.list.d"
cp -a "$apt/lists" "$root/var/lib/apt/"
rm -f "$root"/etc/apt/sources.list.d/*
cp "$apt/sources"/* "$root/etc/apt/sources.list.d/"
cp "$apt/fetch.conf" "$root/etc/apt/apt.conf.d/99fetch"
cp /etc/resolv.conf "$root/etc/resolv.conf"
sed -i /force-unsafe-io/d "$root/etc/dpkg/dpkg.cfg.d/gridvc"
printf '#!/bin/sh\\nexit 101\\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir "$root/run/lock"
sync
hostname localhost
echo 'gridvc: begin'
chroot "$root" apt-get -q -y --no-install-recommends -o Dpkg::Use-Pty=0 install "$@"
echo 'gridvc: end'
[ -z "$keep" ] || list "$root" "$keep"
`;

/** Arguments: mount point, base layer, delta layer, prefix of the lists to write. */
const treeScript = `${listTree}
view=$1
mount --make-rprivate /
mkdir -p "$view/base" "$view/delta" "$view/root"
mount -t squashfs -o loop,ro "$2" "$view/base"
mount -t squashfs -o loop,ro "$3" "$view/delta"
mount -t overlay -o ro,lowerdir="$view/delta:$view/base" overlay "$view/root"
list "$view/root" "$4"
`;
