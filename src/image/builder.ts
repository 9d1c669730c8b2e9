/**
 * Makes layers: a base with mmdebstrap, a delta with real apt and dpkg in a chroot over the base.
 * Rules: all work in a staging directory and a jail (jail.ts); a layer appears by rename, whole; no
 * daemon is started; a failed or interrupted build leaves nothing.
 */
import { createHash } from 'node:crypto';
import { link, copyFile, mkdir, readFile, readdir, rename, stat, writeFile, chmod } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GridError } from '../domain/error.js';
import type { Layer, PackageTiming, Resolution, ResolvedPackage } from '../domain/image.js';
import { debsPath, initFiles } from '../node/init.js';
import { lastLines } from '../proc/output.js';
import { runCommand } from '../proc/command.js';
import type { BaseImage, BuildOptions, BuiltDelta, ImageBuilder, MeasuredStage } from '../ports.js';
import type { Log } from '../log.js';
import { failedPackage, isDiskFull, parseUris, StatusClock } from './apt-output.js';
import type { AptCatalogue } from './apt.js';
import type { AptRoot } from './apt-root.js';
import { basePackages, baseScript, debsScript, deltaScript, packScript } from './build-scripts.js';
import { trimArchives } from './archives.js';
import { removeTree, runInJail } from './jail.js';
import { LayerStore } from './layer-store.js';

export class DebianBuilder implements ImageBuilder {
  readonly recipe = createHash('sha256').update(JSON.stringify([baseScript, basePackages, initFiles])).digest('hex');

  constructor(
    private readonly store: LayerStore,
    private readonly catalogue: AptCatalogue,
    private readonly log?: Log,
  ) {}

  path(digest: string): string {
    return this.store.path(digest);
  }

  has(digest: string): Promise<boolean> {
    return this.store.has(digest);
  }

  verify(digest: string, signal: AbortSignal): Promise<boolean> {
    return this.store.verify(digest, signal);
  }

  contents(digest: string): Promise<readonly string[]> {
    return this.store.contents(digest);
  }

  digests(): Promise<readonly string[]> {
    return this.store.digests();
  }

  remove(digest: string): Promise<number> {
    return this.store.remove(digest);
  }

  trimArchives(bytes: number): Promise<number> {
    return trimArchives(this.catalogue.releases().map((os) => this.catalogue.root(os).archives), bytes);
  }

  /** At the start of a head: clears what a killed build of before has left. Its mounts and processes died with it. */
  async recover(): Promise<void> {
    for (const name of await readdir(this.store.staging).catch(() => [])) {
      const dir = join(this.store.staging, name);
      await unmountBelow(dir);
      await removeTree(dir);
      this.log?.warn({ dir }, 'removed what an interrupted build left');
    }
  }

  async base(os: string, options: BuildOptions): Promise<{ layer: BaseImage; stages: readonly MeasuredStage[] }> {
    const root = this.catalogue.root(os);
    const sources = await root.sourceFiles();
    return this.staged('base', `building the base image of ${os}`, async (stage, output) => {
      const clock = new Stages();
      const tree = join(stage, 'root');
      await writeFile(join(stage, 'apt.conf'), `${root.fetchSettings}APT::Install-Recommends "false";\nAcquire::Languages "none";\n`);
      options.progress('base', `debootstrap ${os}`);
      const failure = await runInJail({
        script: baseScript, args: [tree, os, basePackages.join(','), join(stage, 'apt.conf'), ...sources], network: true, signal: options.signal, idle: options.idle === true,
        onLine: (line) => {
          output.push(line);
          if (line.startsWith('I: ')) options.progress('base', line.slice(3));
        },
      });
      if (failure !== '') throw await this.buildFailure(`the base image of ${os}`, failure, output);
      for (const file of initFiles) await putExecutable(join(tree, file.path), file.text, file.mode);
      const status = join(tree, 'var/lib/dpkg/status');
      const packages = installedPackages(await readFile(status, 'utf8'));
      clock.end('base', 0, packages.length);
      const layer = await this.pack(stage, tree, options, clock, { kind: 'base', os, key: '', packages }, status);
      return { layer: { ...layer, os }, stages: clock.stages };
    });
  }

  async delta(resolution: Resolution, base: BaseImage, options: BuildOptions): Promise<BuiltDelta> {
    if (resolution.packages.length === 0) throw new GridError('internal', 'a delta of no packages was asked for: the base is the image');
    return this.staged('delta', `installing ${resolution.asked.join(', ').slice(0, 200)}`, async (stage, output) => {
      const clock = new Stages();
      const bytes = resolution.packages.reduce((sum, entry) => sum + entry.debBytes, 0);
      options.progress('download', `${resolution.packages.length} packages, ${(bytes / 1e6).toFixed(1)} MB`);
      const below = [base, ...(options.above ?? [])];
      await this.download(resolution, below, stage, options.signal);
      clock.end('download', bytes, resolution.packages.length);
      const spent = await this.install(resolution, below, stage, output, options);
      clock.end('install', bytes, resolution.packages.length);
      const upper = join(stage, 'upper');
      const facts = { kind: options.kind ?? 'delta', os: resolution.os, key: resolution.key, packages: resolution.packages.map((entry) => `${entry.name}=${entry.version}`) } as const;
      const timings = await packageTimings(upper, resolution, spent);
      const layer = await this.pack(stage, upper, options, clock, facts, join(upper, 'var/lib/dpkg/status'));
      return { layer, stages: clock.stages, packages: timings };
    });
  }

  async debs(resolution: Resolution, base: BaseImage, options: BuildOptions): Promise<{ layer: Layer; stages: readonly MeasuredStage[] }> {
    return this.staged('debs', `packing ${resolution.packages.length} packages`, async (stage) => {
      const clock = new Stages();
      const bytes = resolution.packages.reduce((sum, entry) => sum + entry.debBytes, 0);
      options.progress('download', `${resolution.packages.length} packages, ${(bytes / 1e6).toFixed(1)} MB`);
      await this.download(resolution, [base, ...(options.above ?? [])], stage, options.signal);
      clock.end('download', bytes, resolution.packages.length);
      const tree = join(stage, 'root');
      await mkdir(join(tree, dirname(debsPath)), { recursive: true });
      await rename(join(stage, 'debs'), join(tree, debsPath));
      await writeFile(join(tree, debsPath, 'by-hand'), resolution.asked.map((name) => `${name.replace(/=.*$/, '')}\n`).join(''));
      const facts = { kind: 'debs', os: resolution.os, key: resolution.key, packages: resolution.packages.map((entry) => `${entry.name}=${entry.version}`) } as const;
      const layer = await this.pack(stage, tree, options, clock, facts);
      return { layer, stages: clock.stages };
    });
  }

  // -------------------------------------------------------------- steps

  /** Brings the exact .debs to <stage>/debs: from the shared archives, where apt fetches what they lack, or straight from a `file:` source. */
  private async download(resolution: Resolution, below: readonly Layer[], stage: string, signal: AbortSignal): Promise<void> {
    const root = this.catalogue.root(resolution.os);
    const debs = join(stage, 'debs');
    await mkdir(debs);
    const inArchives = (wanted: ResolvedPackage): string => join(root.archives, archiveName(wanted));
    const lacking = async (): Promise<ResolvedPackage[]> => {
      const whole = await Promise.all(resolution.packages.map(async (wanted) => (await stat(inArchives(wanted)).catch(() => undefined))?.size === wanted.debBytes));
      return resolution.packages.filter((_, i) => !whole[i]);
    };
    if ((await lacking()).length > 0) await this.fetch(root, resolution, below, ['--download-only'], signal);
    const elsewhere = new Set((await lacking()).map(archiveName));
    for (const wanted of resolution.packages) if (!elsewhere.has(archiveName(wanted))) await place(inArchives(wanted), join(debs, archiveName(wanted)));
    if (elsewhere.size === 0) return;
    const listed = await this.fetch(root, resolution, below, ['--print-uris', '-o', `Dir::Cache::archives=${join(root.dir, 'nothing')}`], signal);
    for (const item of parseUris(listed).filter(({ file }) => elsewhere.has(file))) {
      if (!item.uri.startsWith('file:')) throw new GridError('unavailable', `package ${item.package.name} was fetched from ${item.uri} but is not whole`, { hint: 'try again' });
      await place(fileURLToPath(item.uri.replace(/^file:\/*/, 'file:///')), join(debs, item.file));
    }
  }

  /** apt-get install of the exact versions, with options that make it fetch or print only. Our own lock serves: apt's would lie beside the status file. */
  private async fetch(root: AptRoot, resolution: Resolution, below: readonly Layer[], options: readonly string[], signal: AbortSignal): Promise<string> {
    const exact = resolution.packages.map(({ name, version, architecture }) => `${name}${architecture === 'all' ? '' : `:${architecture}`}=${version}`);
    const argv = ['apt-get', '-q', '-y', '--no-install-recommends', '--no-remove', '--allow-downgrades', '-o', 'Debug::NoLocking=1', ...options, 'install', '--', ...exact];
    const result = await root.run(argv, { status: this.store.statusPath(below.at(-1)?.digest ?? ''), signal, locked: true, seconds: 1800 });
    if (result.code === 0) return result.stdout;
    if (isDiskFull(result.stderr)) throw await this.store.diskFull('fetching packages');
    throw new GridError('unavailable', `packages could not be fetched: ${result.reason}`, { hint: 'check the apt sources of this site and its way to them; if the lists were refreshed in between, try again' });
  }

  private async install(resolution: Resolution, below: readonly Layer[], stage: string, output: OutputTail, options: BuildOptions): Promise<ReturnType<StatusClock['end']>> {
    const clock = new StatusClock();
    const now = (): number => performance.now() / 1000;
    const byHand = resolution.asked.map((name) => name.replace(/=.*$/, ''));
    options.progress('install', `installing ${resolution.packages.length} packages`);
    const failure = await runInJail({
      script: deltaScript, args: [stage, String(below.length), ...below.map((layer) => this.store.path(layer.digest)), ...byHand], network: false, signal: options.signal, idle: options.idle === true,
      env: { DEBIAN_FRONTEND: 'noninteractive', DEBCONF_NONINTERACTIVE_SEEN: 'true' },
      onLine: (line) => output.push(line),
      onStatusLine: (line) => {
        const step = clock.line(line, now());
        if (step !== undefined) options.progress('install', `${step.percent.toFixed(0)}% ${step.phase} ${step.package}`);
      },
    });
    if (failure !== '') throw await this.buildFailure(`the layer for ${resolution.asked.join(', ').slice(0, 200)}`, failure, output);
    return clock.end(now());
  }

  private async pack(stage: string, tree: string, options: BuildOptions, clock: Stages, facts: Parameters<LayerStore['adopt']>[1], status?: string): Promise<Awaited<ReturnType<LayerStore['adopt']>>> {
    options.progress('pack', 'packing the layer');
    const file = join(stage, 'layer.sqfs');
    const output = new OutputTail();
    const failure = await runInJail({ script: facts.kind === 'debs' ? debsScript : packScript, args: [tree, file], network: false, signal: options.signal, idle: options.idle === true, onLine: (line) => output.push(line) });
    if (failure !== '') throw await this.buildFailure('the layer file', failure, output);
    const layer = await this.store.adopt(file, facts, status);
    clock.end('pack', layer.bytes, facts.packages.length);
    return layer;
  }

  /** Runs `work` in a staging directory that is gone afterwards; a full disk anywhere becomes disk-full. */
  private async staged<T>(what: string, doing: string, work: (stage: string, output: OutputTail) => Promise<T>): Promise<T> {
    let stage: string | undefined;
    try {
      stage = await this.store.stage(what);
      return await work(stage, new OutputTail());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw await this.store.diskFull(doing);
      throw error;
    } finally {
      if (stage !== undefined) await removeTree(stage);
    }
  }

  private async buildFailure(what: string, reason: string, output: OutputTail): Promise<GridError> {
    const log = output.text();
    if (isDiskFull(log)) return this.store.diskFull(`building ${what}`);
    const culprit = failedPackage(log);
    const who = culprit === undefined ? `${what} could not be built` : `package ${culprit} failed to install`;
    return new GridError('build-failed', `${who} (${reason}); the log ends:\n${lastLines(log, 20).join('\n')}`, culprit === undefined ? {} : { hint: `leave ${culprit} out, or ask for another version` });
  }
}

/** The last lines of a build. */
class OutputTail {
  private lines: string[] = [];
  push(line: string): void {
    this.lines.push(line.slice(0, 1000));
    if (this.lines.length > 2000) this.lines = this.lines.slice(-1000);
  }
  text(): string {
    return this.lines.join('\n');
  }
}

/** Measured stages, each from the end of the one before. */
class Stages {
  readonly stages: MeasuredStage[] = [];
  private since = performance.now();
  end(stage: MeasuredStage['stage'], bytes: number, items: number): void {
    const now = performance.now();
    this.stages.push({ stage, seconds: (now - this.since) / 1000, bytes, items });
    this.since = now;
  }
}

/** The name that apt gives a .deb in its archives. */
function archiveName(wanted: ResolvedPackage): string {
  return `${wanted.name}_${wanted.version.replaceAll('%', '%25').replaceAll(':', '%3a').replaceAll('_', '%5f')}_${wanted.architecture}.deb`;
}

/** Linked where one file system has both, else copied. */
async function place(from: string, target: string): Promise<void> {
  await link(from, target).catch(() => copyFile(from, target));
}

async function putExecutable(path: string, text: string, mode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
  await chmod(path, mode);
}

function installedPackages(status: string): string[] {
  return status.split('\n\n').flatMap((stanza) => {
    const name = /^Package: (\S+)$/m.exec(stanza)?.[1];
    const version = /^Version: (\S+)$/m.exec(stanza)?.[1];
    return name !== undefined && version !== undefined && /^Status: install ok installed$/m.test(stanza) ? [`${name}=${version}`] : [];
  });
}

/** Seconds per package and phase, with the sizes that models learn from. A trigger may run for a package of the base: no size then. */
async function packageTimings(upper: string, resolution: Resolution, spent: ReturnType<StatusClock['end']>): Promise<PackageTiming[]> {
  const byName = new Map(resolution.packages.map((entry) => [entry.name, entry]));
  const files = new Map<string, number>();
  for (const name of await readdir(join(upper, 'var/lib/dpkg/info')).catch(() => [])) {
    if (!name.endsWith('.list')) continue;
    const text = await readFile(join(upper, 'var/lib/dpkg/info', name), 'utf8');
    files.set(name.replace(/(:[a-z0-9-]+)?\.list$/, ''), text.split('\n').length - 1);
  }
  return spent.map((entry) => ({
    package: entry.package,
    version: byName.get(entry.package)?.version ?? '',
    phase: entry.phase,
    seconds: entry.seconds,
    bytes: byName.get(entry.package)?.debBytes ?? 0,
    files: files.get(entry.package) ?? 0,
  }));
}

/** Unmounts what is mounted below `dir`, deepest first. */
async function unmountBelow(dir: string): Promise<void> {
  await stat(dir);
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(`${dir}/`));
  for (const path of mounts.reverse()) await runCommand(['umount', '-l', path]);
}
