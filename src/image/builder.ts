/**
 * Makes layers: a base with mmdebstrap, a delta with real apt and dpkg in a chroot over the base.
 * Rules: all work in a staging directory and a jail (jail.ts); a layer appears by rename, whole; no
 * daemon is started; a failed or interrupted build leaves nothing.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { GridError, isGridError } from '../domain/error.js';
import type { Layer, PackageTiming, Resolution } from '../domain/image.js';
import { debsPath, initFiles } from '../node/init.js';
import { lastLines } from '../proc/output.js';
import { runCommand } from '../proc/command.js';
import type { BaseImage, BuildOptions, BuiltDelta, ImageBuilder, MeasuredStage } from '../ports.js';
import type { Log } from '../log.js';
import { failedPackage, isDiskFull } from './apt-output.js';
import type { AptCatalogue } from './apt.js';
import { basePackages, baseScript, debsScript, deltaScript, packScript } from './build-scripts.js';
import { trimArchives } from './archives.js';
import { DebSupply } from './deb-supply.js';
import { BuildWatch, memoryFor, seconds, together, writePlan, type Installed } from './delta-run.js';
import { removeTree, runInJail } from './jail.js';
import { LayerStore } from './layer-store.js';

export interface BuilderOptions {
  readonly log?: Log;
  /** Bytes of memory that one build may take for its tree; default: half of what is free. 0: builds work on the disk. */
  readonly memory?: number;
}

export class DebianBuilder implements ImageBuilder {
  readonly recipe = createHash('sha256').update(JSON.stringify([baseScript, basePackages, initFiles])).digest('hex');

  constructor(
    private readonly store: LayerStore,
    private readonly catalogue: AptCatalogue,
    private readonly options: BuilderOptions = {},
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
      this.options.log?.warn({ dir }, 'removed what an interrupted build left');
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
    const memory = await memoryFor(resolution, [base, ...(options.above ?? [])], this.options.memory ?? Infinity);
    return this.deltaIn(memory, resolution, base, options).catch((error: unknown) => {
      if (memory === 0 || !isGridError(error, 'disk-full')) throw error;
      this.options.log?.warn({ memory, packages: resolution.asked }, 'a build did not fit into its memory: once more, on the disk');
      return this.deltaIn(0, resolution, base, options);
    });
  }

  /** @param memory bytes for the tree; 0: on the disk */
  private deltaIn(memory: number, resolution: Resolution, base: BaseImage, options: BuildOptions): Promise<BuiltDelta> {
    return this.staged('delta', `installing ${resolution.asked.join(', ').slice(0, 200)}`, async (stage, output) => {
      const bytes = resolution.packages.reduce((sum, entry) => sum + entry.debBytes, 0);
      options.progress('download', `${resolution.packages.length} packages, ${(bytes / 1e6).toFixed(1)} MB`);
      const begun = seconds();
      const installed = await this.install(memory, resolution, [base, ...(options.above ?? [])], stage, output, options);
      const facts = { kind: options.kind ?? 'delta', os: resolution.os, key: resolution.key, packages: resolution.packages.map((entry) => `${entry.name}=${entry.version}`) } as const;
      const timings = await packageTimings(join(stage, 'lists'), resolution, installed.spent);
      const layer = await this.store.adopt(join(stage, 'layer.sqfs'), facts, { status: join(stage, 'status'), known: installed.digest });
      const measured = (name: MeasuredStage['stage'], taken: number, size: number): MeasuredStage => ({ stage: name, seconds: Math.max(0, taken), bytes: size, items: resolution.packages.length });
      const stages = [
        measured('download', installed.blocked, bytes),
        measured('install', installed.packing - begun - installed.blocked, bytes),
        measured('pack', seconds() - installed.packing, layer.bytes),
      ];
      return { layer, stages, packages: timings };
    });
  }

  async debs(resolution: Resolution, base: BaseImage, options: BuildOptions): Promise<{ layer: Layer; stages: readonly MeasuredStage[] }> {
    return this.staged('debs', `packing ${resolution.packages.length} packages`, async (stage) => {
      const clock = new Stages();
      const bytes = resolution.packages.reduce((sum, entry) => sum + entry.debBytes, 0);
      options.progress('download', `${resolution.packages.length} packages, ${(bytes / 1e6).toFixed(1)} MB`);
      const supply = this.supply(resolution, [base, ...(options.above ?? [])], stage);
      await supply.prepare();
      await supply.run(options.signal);
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

  private supply(resolution: Resolution, below: readonly Layer[], stage: string): DebSupply {
    const status = this.store.statusPath(below.at(-1)?.digest ?? '');
    return new DebSupply({ root: this.catalogue.root(resolution.os), resolution, status, stage, diskFull: (doing) => this.store.diskFull(doing) });
  }

  /** Fetches, unpacks and configures the packages, all at the same time, and packs what changed. */
  private async install(memory: number, resolution: Resolution, below: readonly Layer[], stage: string, output: OutputTail, options: BuildOptions): Promise<Installed> {
    const supply = this.supply(resolution, below, stage);
    await supply.prepare();
    const asked = new Set(resolution.asked.map((name) => name.replace(/=.*$/, '')));
    const inBase = [...asked].filter((name) => !resolution.packages.some((entry) => entry.name === name));
    const watch = new BuildWatch(supply, resolution.packages.length, stage, options.progress);
    options.progress('install', `installing ${resolution.packages.length} packages`);
    await together(options.signal, (signal) => [
      supply.run(signal),
      supply.plan(signal).then((plan) => writePlan(stage, plan, resolution, asked)),
      runInJail({
        script: deltaScript, args: [stage, String(memory), String(availableParallelism()), String(below.length), ...below.map((layer) => this.store.path(layer.digest)), ...inBase],
        network: false, signal, idle: options.idle === true,
        env: { DEBIAN_FRONTEND: 'noninteractive', DEBCONF_NONINTERACTIVE_SEEN: 'true' },
        onLine: (line) => output.push(line),
        onStatusLine: (line) => watch.line(line),
      }).then(async (failure) => {
        if (failure !== '') throw await this.buildFailure(`the layer for ${resolution.asked.join(', ').slice(0, 200)}`, failure, output);
      }),
    ]);
    return watch.end();
  }

  private async pack(stage: string, tree: string, options: BuildOptions, clock: Stages, facts: Parameters<LayerStore['adopt']>[1], status?: string): Promise<Awaited<ReturnType<LayerStore['adopt']>>> {
    options.progress('pack', 'packing the layer');
    const file = join(stage, 'layer.sqfs');
    const output = new OutputTail();
    const failure = await runInJail({ script: facts.kind === 'debs' ? debsScript : packScript, args: [tree, file], network: false, signal: options.signal, idle: options.idle === true, onLine: (line) => output.push(line) });
    if (failure !== '') throw await this.buildFailure('the layer file', failure, output);
    const layer = await this.store.adopt(file, facts, { status });
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
async function packageTimings(lists: string, resolution: Resolution, spent: Installed['spent']): Promise<PackageTiming[]> {
  const byName = new Map(resolution.packages.map((entry) => [entry.name, entry]));
  const files = new Map<string, number>();
  for (const line of (await readFile(lists, 'utf8')).split('\n')) {
    const [, count, name] = /^ *(\d+) (.+?)(?::[a-z0-9-]+)?\.list$/.exec(line) ?? [];
    if (count !== undefined && name !== undefined) files.set(name, Number(count));
  }
  return spent.map((entry) => ({
    package: entry.package,
    version: byName.get(entry.package)?.version ?? '',
    phase: entry.phase,
    seconds: entry.seconds,
    bytes: byName.get(entry.package)?.debBytes ?? 0,
    files: byName.has(entry.package) ? (files.get(entry.package) ?? 0) : 0,
  }));
}

/** Unmounts what is mounted below `dir`, deepest first. */
async function unmountBelow(dir: string): Promise<void> {
  await stat(dir);
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(`${dir}/`));
  for (const path of mounts.reverse()) await runCommand(['umount', '-l', path]);
}
