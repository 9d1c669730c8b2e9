/**
 * Real installations of package sets, one after the other, each appended to a file as soon as it is measured, so that the
 * experiment goes on where it was stopped. Packages are fetched before; layers are thrown away.
 */
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Layer, PackageTiming, Resolution } from '../../src/domain/image.js';
import type { BaseImage } from '../../src/ports.js';
import { lendBase, quiet, testBase, testCache, workshop, type Workshop } from '../support/layers.js';

/** What the set was installed on: only the base, or the base and a cache layer of popular packages. scratch: the making of a base itself, set "". */
export type Below = 'scratch' | 'base' | 'cache';

export interface InstallRun {
  readonly set: string;
  readonly below: Below;
  /** Packages of the cache layer. */
  readonly installed: number;
  /** Seconds of stage install and of stage pack; bytes of the layer. */
  readonly seconds: number;
  readonly pack: number;
  readonly layer: number;
  readonly phases: readonly PackageTiming[];
}

export interface RunPlan {
  readonly file: string;
  readonly sets: readonly (readonly string[])[];
  /** Sets that are also installed over the cache layer. */
  readonly onCache: readonly (readonly string[])[];
  /** Packages asked for in the cache layer. */
  readonly cached: readonly string[];
  readonly repeats: number;
  /** Stop after so many seconds; the next call goes on. */
  readonly seconds: number;
}

export function readRuns(file: string): InstallRun[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as InstallRun);
}

/** Runs what the file still lacks. @returns how many runs are left */
export async function runInstallations(plan: RunPlan): Promise<number> {
  const base = await testBase();
  mkdirSync(testCache, { recursive: true });
  const home = mkdtempSync(join(testCache, 'estimates-'));
  const until = performance.now() + plan.seconds * 1000;
  try {
    lendBase(base, home);
    const place = workshop(home);
    await place.catalogue.update(base.os, 24 * 3600);
    const todo = outstanding(plan);
    let cache: { layer: Layer; packages: number } | undefined;
    let left = todo.length;
    for (const { set, below } of todo) {
      if (performance.now() > until) return left;
      if (below === 'scratch') {
        appendFileSync(plan.file, `${JSON.stringify(await baseOnce(place, base.os))}\n`);
        left -= 1;
        continue;
      }
      if (below === 'cache') cache ??= await cacheLayer(place, base, plan.cached);
      const run = await installOnce(place, base, set, below === 'cache' ? cache : undefined);
      left -= 1;
      if (run === undefined) continue;
      appendFileSync(plan.file, `${JSON.stringify(run)}\n`);
      console.error(`${left} left: ${run.set} on ${run.below}: ${new Set(run.phases.map((row) => row.package)).size} packages, ${run.seconds.toFixed(2)} s`);
    }
    return left;
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Every set once before any a second time, so that the repeats lie apart. */
function outstanding(plan: RunPlan): { set: readonly string[]; below: Below }[] {
  const done = new Map<string, number>();
  for (const run of readRuns(plan.file)) done.set(`${run.below} ${run.set}`, (done.get(`${run.below} ${run.set}`) ?? 0) + 1);
  return Array.from({ length: plan.repeats }, (_, n) => [
    ...plan.sets.map((set) => ({ set, below: 'base' as const })),
    ...plan.onCache.map((set) => ({ set, below: 'cache' as const })),
    { set: [], below: 'scratch' as const },
  ].filter(({ set, below }) => (done.get(`${below} ${set.join(' ')}`) ?? 0) <= n)).flat();
}

async function baseOnce({ builder }: Workshop, os: string): Promise<InstallRun> {
  const { layer, stages } = await builder.base(os, quiet());
  const seconds = (stage: string): number => stages.find((one) => one.stage === stage)?.seconds ?? 0;
  return { set: '', below: 'scratch', installed: 0, seconds: seconds('base'), pack: seconds('pack'), layer: layer.bytes, phases: [] };
}

async function cacheLayer({ catalogue, builder }: Workshop, base: BaseImage, asked: readonly string[]): Promise<{ layer: Layer; packages: number }> {
  const resolution = await catalogue.resolve(base.os, base, asked);
  const built = await builder.delta(resolution, base, { ...quiet(), kind: 'cache' });
  return { layer: built.layer, packages: resolution.packages.length };
}

/** One set installed as a delta that is thrown away; undefined if it cannot be resolved or nothing is to be installed. */
async function installOnce({ catalogue, builder }: Workshop, base: BaseImage, set: readonly string[], cache: { layer: Layer; packages: number } | undefined): Promise<InstallRun | undefined> {
  const below = cache === undefined ? base : { ...base, digest: cache.layer.digest }; // apt sees the status of the uppermost layer
  const resolution = await catalogue.resolve(base.os, below, set).catch((error: Error) => void console.error(`left out: ${error.message}`));
  if (resolution === undefined || resolution.packages.length === 0) return undefined;
  const above = cache === undefined ? {} : { above: [cache.layer] };
  if (!fetched(catalogue.root(base.os).archives, resolution)) {
    const packed = await builder.debs(resolution, base, { ...quiet(), ...above });
    await builder.remove(packed.layer.digest);
  }
  const built = await builder.delta(resolution, base, { ...quiet(), ...above });
  await builder.remove(built.layer.digest);
  const seconds = (stage: string): number => built.stages.find((one) => one.stage === stage)?.seconds ?? 0;
  return { set: set.join(' '), below: cache === undefined ? 'base' : 'cache', installed: cache?.packages ?? 0, seconds: seconds('install'), pack: seconds('pack'), layer: built.layer.bytes, phases: built.packages };
}

function fetched(archives: string, resolution: Resolution): boolean {
  const there = new Set(readdirSync(archives).map((file) => file.replace(/_.*$/, '')));
  return resolution.packages.every((entry) => there.has(entry.name));
}
