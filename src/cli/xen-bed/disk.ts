/**
 * The drive that every dom0 of the bed boots from (each writes to a throw-away copy of its own), with the files that QEMU
 * loads beside it. Made of the newest packages of the machine's Debian sources and kept under its recipe and their versions;
 * a directory that exists is whole. Without a network the newest one that exists serves.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GridError, isGridError } from '../../domain/error.js';
import { AptCatalogue } from '../../image/apt.js';
import { removeTree, runInJail } from '../../image/jail.js';
import { lastLines } from '../../proc/output.js';
import { diskMiB, dom0Files, dom0Packages, packScript, treeScript } from './disk-files.js';

const suite = 'bookworm';
const listsMaxAgeSeconds = 24 * 3600;

/** Files of one built drive. */
export interface Dom0Disk {
  readonly disk: string;
  readonly xen: string;
  /** Compressed (what a probe boots) and uncompressed. */
  readonly vmlinuz: string;
  readonly vmlinux: string;
  readonly initrd: string;
}

export interface DiskOptions {
  /** Directory for drives and for an apt of our own. */
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** The drive of today's packages, built if it is not there yet (a minute and more). @throws build-failed with the log's tail */
export async function dom0Disk(options: DiskOptions): Promise<Dom0Disk> {
  const { directory, say, signal } = options;
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const catalogue = new AptCatalogue({ home: directory, releases: [suite], statusOf: () => '/dev/null' });
  const versions = await packageVersions(catalogue, signal).catch((error: unknown) => {
    if (isGridError(error, 'interrupted')) throw error;
    return error as Error;
  });
  const present = await builtDisks(directory);
  if (versions instanceof Error) {
    const [newest] = present;
    if (newest === undefined) throw versions;
    say(`the packages' versions cannot be looked up (${versions.message}); the dom0 drive made before is used`);
    return diskFiles(join(directory, newest));
  }
  const name = `disk-${createHash('sha256').update(JSON.stringify([recipe, versions])).digest('hex').slice(0, 24)}`;
  if (!present.includes(name)) {
    say(`making the dom0 drive from ${versions.length} Debian packages (once: it is kept in ${directory})`);
    await build(join(directory, name), catalogue, options);
  }
  for (const old of present) if (old !== name) await rm(join(directory, old), { recursive: true, force: true });
  return diskFiles(join(directory, name));
}

const recipe = [treeScript, packScript, dom0Files, dom0Packages, diskMiB];

function diskFiles(directory: string): Dom0Disk {
  const file = (name: string): string => join(directory, name);
  return { disk: file('disk.img'), xen: file('xen'), vmlinuz: file('vmlinuz'), vmlinux: file('vmlinux'), initrd: file('initrd') };
}

/** Newest first. */
async function builtDisks(directory: string): Promise<string[]> {
  const names = (await readdir(directory)).filter((name) => name.startsWith('disk-'));
  const ages = new Map(await Promise.all(names.map(async (name) => [name, (await stat(join(directory, name))).mtimeMs] as const)));
  return names.sort((a, b) => (ages.get(b) ?? 0) - (ages.get(a) ?? 0));
}

/** "name (version)" of the whole closure, as apt would install it on an empty machine. */
async function packageVersions(catalogue: AptCatalogue, signal: AbortSignal): Promise<string[]> {
  await catalogue.update(suite, listsMaxAgeSeconds, signal);
  const result = await catalogue.root(suite).run(['apt-get', '-q', '--simulate', 'install', '--', ...dom0Packages], { signal });
  if (result.code !== 0) throw new GridError('unavailable', `the packages of a dom0 cannot be resolved: ${result.reason}`, { hint: 'check the apt sources of this machine' });
  return [...result.stdout.matchAll(/^Inst (\S+) \((\S+)/gm)].map((match) => `${match[1]} ${match[2]}`).sort();
}

async function build(target: string, catalogue: AptCatalogue, options: DiskOptions): Promise<void> {
  const stage = `${target.replace(/disk-(?=[^/]*$)/, 'stage-')}`;
  await removeTree(stage); // of a build that was killed: its mounts died with it
  const tree = join(stage, 'tree');
  const out = join(stage, 'out');
  await mkdir(out, { recursive: true });
  try {
    const root = catalogue.root(suite);
    const settings = join(stage, 'apt.conf');
    await root.prepare();
    await writeFile(settings, `${root.fetchSettings}APT::Install-Recommends "false";\nAcquire::Languages "none";\n`);
    await inJail('the packages of a dom0', treeScript, [tree, suite, dom0Packages.join(','), settings, ...(await root.sourceFiles())], options);
    for (const file of dom0Files) {
      await mkdir(dirname(join(tree, file.path)), { recursive: true });
      await writeFile(join(tree, file.path), file.text);
      await chmod(join(tree, file.path), file.mode);
    }
    options.say('packing the drive');
    await inJail('the drive of a dom0', packScript, [tree, out, String(diskMiB)], options);
    await rename(out, target);
  } finally {
    if (existsSync(stage)) await removeTree(stage);
  }
}

async function inJail(what: string, script: string, args: readonly string[], options: DiskOptions): Promise<void> {
  const output: string[] = [];
  const failure = await runInJail({ script, args, network: true, signal: options.signal, onLine: (line) => output.push(line) });
  if (failure !== '') throw new GridError('build-failed', `${what} could not be made (${failure}):\n${lastLines(output.join('\n'), 12).join('\n')}`);
}
