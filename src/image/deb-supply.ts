/**
 * Brings the exact .debs of a closure into a build's directory, while it already unpacks the first ones:
 * each file lies there empty until its package is whole. They come from the shared archives,
 * where apt fetches what they lack, or straight from a `file:` source.
 */
import { copyFile, link, mkdir, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { GridError } from '../domain/error.js';
import type { Resolution, ResolvedPackage } from '../domain/image.js';
import { isDiskFull, parsePlan, parseUris, type PlanStep } from './apt-output.js';
import type { AptRoot } from './apt-root.js';

const lookMs = 40;

export interface SupplyOptions {
  readonly root: AptRoot;
  readonly resolution: Resolution;
  /** dpkg status of the base. */
  readonly status: string;
  /** The build's directory. */
  readonly stage: string;
  readonly diskFull: (doing: string) => Promise<GridError>;
}

export class DebSupply {
  /** When each package was there, in seconds of performance.now(). */
  readonly arrived = new Map<string, number>();
  private readonly debs: string;
  private readonly missing = new Set<ResolvedPackage>();

  constructor(private readonly options: SupplyOptions) {
    this.debs = join(options.stage, 'debs');
  }

  /** Puts the empty files, and those packages that are there already. */
  async prepare(): Promise<void> {
    const { packages } = this.options.resolution;
    await mkdir(this.debs);
    await Promise.all(packages.map((wanted) => writeFile(join(this.debs, archiveName(wanted)), '')));
    for (const wanted of packages) this.missing.add(wanted);
    await this.take();
    const early = [...packages].sort((a, b) => b.debBytes - a.debBytes).map((wanted) => `${archiveName(wanted)}\n`);
    await writeFile(join(this.options.stage, 'early'), early.join(''));
  }

  /** What apt would have dpkg do with these packages, in its order: asked over files that have the right sizes and no content. */
  async plan(signal: AbortSignal): Promise<readonly PlanStep[]> {
    const empty = join(this.options.stage, 'plan-debs');
    await mkdir(join(empty, 'partial'), { recursive: true });
    await Promise.all(this.options.resolution.packages.map(async (wanted) => {
      const file = join(empty, archiveName(wanted));
      await writeFile(file, '');
      await truncate(file, wanted.debBytes);
    }));
    const settings = ['Debug::pkgDPkgPM=1', `Dir::Cache::archives=${empty}`, 'Dpkg::Install::Recursive::Minimum=1000000', 'Dpkg::MaxArgBytes=100000000', 'Dpkg::MaxArgs=1000000', 'Dir::Log::Planner=/dev/null', 'Dir::Log::History=/dev/null', 'Dir::Log::Terminal=/dev/null'];
    const { stderr } = await this.apt(settings.flatMap((setting) => ['-o', setting]), signal, false);
    return parsePlan(stderr);
  }

  /** Ends when every package is there. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.missing.size === 0) return;
    const fetched = new AbortController();
    const fetching = this.apt(['--download-only'], signal, true).finally(() => fetched.abort());
    fetching.catch(() => undefined); // its failure is met below, after what has come was taken
    while (this.missing.size > 0 && !fetched.signal.aborted) {
      await pause(lookMs);
      await this.take();
    }
    await fetching;
    await this.take();
    if (this.missing.size > 0) await this.takeFromFiles(signal);
  }

  /** Takes what has come whole into the archives. */
  private async take(): Promise<void> {
    await Promise.all([...this.missing].map(async (wanted) => {
      const file = join(this.options.root.archives, archiveName(wanted));
      if ((await stat(file).catch(() => undefined))?.size === wanted.debBytes) await this.place(wanted, file);
    }));
  }

  /** apt does not copy what a `file:` source has. */
  private async takeFromFiles(signal: AbortSignal): Promise<void> {
    const { root } = this.options;
    const { stdout } = await this.apt(['--print-uris', '-o', `Dir::Cache::archives=${join(root.dir, 'nothing')}`], signal, true);
    const uris = new Map(parseUris(stdout).map((item) => [item.file, item.uri]));
    for (const wanted of [...this.missing]) {
      const uri = uris.get(archiveName(wanted)) ?? 'nowhere';
      if (!uri.startsWith('file:')) throw new GridError('unavailable', `package ${wanted.name} was fetched from ${uri} but is not whole`, { hint: 'try again' });
      await this.place(wanted, fileURLToPath(uri.replace(/^file:\/*/, 'file:///')));
    }
  }

  /** Linked where one file system has both, else copied; whole at once. */
  private async place(wanted: ResolvedPackage, from: string): Promise<void> {
    const target = join(this.debs, archiveName(wanted));
    const beside = `${target}.new`;
    await link(from, beside).catch(() => copyFile(from, beside));
    await rename(beside, target);
    this.missing.delete(wanted);
    this.arrived.set(wanted.name, performance.now() / 1000);
  }

  /** apt-get install of the exact versions, with options that make it fetch or print only. Our own lock serves: apt's would lie beside the status file. */
  private async apt(options: readonly string[], signal: AbortSignal, locked: boolean): Promise<{ stdout: string; stderr: string }> {
    const { root, resolution, status } = this.options;
    const exact = resolution.packages.map(({ name, version, architecture }) => `${name}${architecture === 'all' ? '' : `:${architecture}`}=${version}`);
    const argv = ['apt-get', '-q', '-y', '--no-install-recommends', '--no-remove', '--allow-downgrades', '-o', 'Debug::NoLocking=1', ...options, 'install', '--', ...exact];
    const result = await root.run(argv, { status, signal, locked, seconds: 1800 });
    if (result.code === 0) return result;
    if (isDiskFull(result.stderr)) throw await this.options.diskFull('fetching packages');
    throw new GridError('unavailable', `packages could not be fetched: ${result.reason}`, { hint: 'check the apt sources of this site and its way to them; if the lists were refreshed in between, try again' });
  }
}

/** The name that apt gives a .deb in its archives. */
export function archiveName(wanted: ResolvedPackage): string {
  return `${wanted.name}_${wanted.version.replaceAll('%', '%25').replaceAll(':', '%3a').replaceAll('_', '%5f')}_${wanted.architecture}.deb`;
}
