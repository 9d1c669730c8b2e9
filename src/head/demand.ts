/** What was asked of late, as closures over today's bases: what the maker weighs images by. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Demand } from '../domain/cache/saved-time.js';
import { ownSeconds } from '../domain/estimate/packages.js';
import { predict, type SiteModels } from '../domain/estimate/site.js';
import type { ResolvedPackage, Resolution } from '../domain/image.js';
import { layerPerDeb } from '../domain/plan-site.js';
import type { BaseImage } from '../ports.js';
import type { Database } from '../store/database.js';
import { openBundles } from './bring-up.js';
import type { ImageStock } from './images.js';

export interface AskedOften {
  readonly resolution: Resolution;
  readonly weight: number;
}

/** A set of package names as an image holds them. */
export type Contents = { readonly has: (name: string) => boolean; readonly size: number };

interface AskedRow {
  readonly os: string;
  readonly packages: readonly string[];
  readonly bundles: readonly string[];
}

export interface History {
  readonly db: Database;
  readonly stock: ImageStock;
  readonly bundles: Readonly<Record<string, readonly string[]>>;
}

/** Distinct closures of the last `requests` requests for one release, most often asked first. What cannot be resolved any more is left out. */
export async function recentClosures({ db, stock, bundles }: History, base: BaseImage, requests: number, signal: AbortSignal): Promise<readonly AskedOften[]> {
  const rows = (await db.rows<AskedRow>('recentAsked', requests)).filter(({ os }) => os === base.os);
  const counts = new Map<string, { names: readonly string[]; weight: number }>();
  for (const row of rows) {
    const names = opened(bundles, row);
    if (names === undefined || names.length === 0) continue;
    const key = names.join(' ');
    counts.set(key, { names, weight: (counts.get(key)?.weight ?? 0) + 1 });
  }
  const closures = new Map<string, AskedOften>();
  for (const { names, weight } of counts.values()) {
    const resolution = await stock.resolve(base.os, base, names, signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      return undefined;
    });
    if (resolution === undefined || resolution.packages.length === 0) continue;
    closures.set(resolution.key, { resolution, weight: (closures.get(resolution.key)?.weight ?? 0) + weight });
  }
  return [...closures.values()].sort((a, b) => b.weight - a.weight);
}

function opened(bundles: History['bundles'], row: AskedRow): readonly string[] | undefined {
  try {
    return openBundles(bundles, row);
  } catch {
    return undefined; // the site has that bundle no more
  }
}

/** Predicted seconds of what depends on the image: download, install, pack, of what it lacks. */
export function addingSeconds(models: SiteModels, packages: readonly ResolvedPackage[], image: Contents): number {
  const missing = packages.filter(({ name }) => !image.has(name));
  if (missing.length === 0) return 0;
  const bytes = missing.reduce((sum, { debBytes }) => sum + debBytes, 0);
  const work = { bytes, items: missing.length };
  const install = predict(models, { stage: 'install', ...work, install: { packages: missing, installed: image.size } }).seconds;
  return install + predict(models, { stage: 'download', ...work }).seconds + predict(models, { stage: 'pack', bytes, items: 1 }).seconds;
}

/** What one package in an image is worth for each request that needs it, and what it costs. */
export function packageWorth(models: SiteModels, { name, debBytes }: ResolvedPackage): { seconds: number; bytes: number } {
  const of = (stage: 'download' | 'pack', bytes: number): number => predict(models, { stage, bytes, items: 1 }).seconds;
  const perByte = of('download', debBytes) - of('download', 0) + of('pack', debBytes) - of('pack', 0);
  return { seconds: ownSeconds(models.install.packages, { name, debBytes }) + perByte, bytes: debBytes * layerPerDeb };
}

/** Each closure with the seconds that each image saves it; other work of this process has its turn in between. */
export async function demandsOn(asked: readonly AskedOften[], images: number, saves: (image: number, closure: number) => number, signal: AbortSignal): Promise<readonly Demand[]> {
  const demands: Demand[] = [];
  for (const [closure, { weight }] of asked.entries()) {
    await nextTurn();
    signal.throwIfAborted();
    demands.push({ weight, saves: new Map(Array.from({ length: images }, (_, image) => [image, saves(image, closure)] as const).filter(([, seconds]) => seconds > 0)) });
  }
  return demands;
}
