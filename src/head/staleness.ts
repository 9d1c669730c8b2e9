/** What new package lists mean for what is held: an image or base with an older version of anything is stale. */
import type { BaseImage, Catalogue, ImageBuilder } from '../ports.js';
import type { Database } from '../store/database.js';
import type { ImageStock } from './images.js';
import { layerRows } from './stocked-image.js';

export interface Staleness {
  readonly db: Database;
  readonly stock: ImageStock;
  readonly catalogue: Catalogue;
  readonly builder: ImageBuilder;
  /** What could not be made by the old lists; cleared when there are new ones. */
  readonly failed: Set<string>;
}

const judgedAt = new WeakMap<ImageStock, Map<string, number>>();

/**
 * Compares every image of the base's release, and the base itself, with the newest versions. Without new lists since the last
 * time nothing is asked. A base made after the lists is as new as can be.
 * @returns whether the base should be replaced
 */
export async function markStale(of: Staleness, base: BaseImage & { stale: boolean }, signal: AbortSignal): Promise<{ base: boolean }> {
  const { db, stock, catalogue, builder } = of;
  const updated = await catalogue.updatedAt(base.os);
  const judged = judgedAt.get(stock) ?? new Map<string, number>();
  judgedAt.set(stock, judged);
  if (judged.get(base.digest) === updated) return { base: base.stale };
  const images = (await stock.all()).filter((image) => image.os === base.os && image.kind !== 'debs');
  const own = await builder.contents(base.digest);
  const names = new Set([...own.map((entry) => entry.split('=', 1)[0] ?? ''), ...images.flatMap((image) => [...image.packages.keys()])]);
  const newest = await catalogue.newest(base.os, [...names].filter((name) => name !== ''), signal);
  const old = (name: string, version: string): boolean => newest.has(name) && newest.get(name) !== version;
  for (const image of images) {
    const stale = [...image.packages].some(([name, version]) => old(name, version));
    if (stale !== image.stale) await stock.setStale(image.key, stale);
  }
  const built = (await layerRows(db)).find(({ digest }) => digest === base.digest)?.built.getTime() ?? 0;
  const stale = built < updated && own.some((entry) => old(entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)));
  await db.rows('setBaseStale', base.digest, stale);
  of.failed.clear();
  judged.set(base.digest, updated);
  return { base: stale };
}
