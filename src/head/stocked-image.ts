/** Rows of the stock as values: images and layers that this head holds. */
import { createHash } from 'node:crypto';
import type { Layer, LayerKind, ResolvedPackage } from '../domain/image.js';
import type { HeldImage } from '../domain/plan-site.js';
import type { Database } from '../store/database.js';

export interface StockedImage extends HeldImage {
  readonly os: string;
  readonly kind: 'cache' | 'delta' | 'debs';
  readonly contents: readonly ResolvedPackage[];
  /** Marked as installed by hand. */
  readonly asked: readonly string[];
  readonly stale: boolean;
  /** An administrator wanted it. */
  readonly pinned: boolean;
  readonly built: Date;
  readonly lastUsed: Date;
  readonly uses: number;
}

export interface LayerRow extends Layer {
  readonly os: string;
  readonly recipe: string;
  readonly built: Date;
  readonly verified: Date;
  readonly stale: boolean;
}

interface ImageRow extends Omit<StockedImage, 'name' | 'layers' | 'packages' | 'contents'> {
  readonly number: number;
  readonly layers: readonly string[];
  readonly packages: readonly ResolvedPackage[];
}

const letters = { cache: 'c', delta: 'd', debs: 'p' } as const;

export function layerRows(db: Database): Promise<LayerRow[]> {
  return db.rows<LayerRow>('stockedLayers');
}

/** All images whose layers are all known, by key. */
export async function stockedImages(db: Database): Promise<Map<string, StockedImage>> {
  const [rows, layers] = await Promise.all([db.rows<ImageRow>('stockedImages'), layerRows(db)]);
  const byDigest = new Map(layers.map(({ digest, kind, bytes }) => [digest, { digest, kind, bytes }]));
  return new Map(
    rows.flatMap(({ number, layers: digests, packages: contents, ...row }) => {
      const own = digests.flatMap((digest) => byDigest.get(digest) ?? []);
      if (own.length < digests.length) return [];
      return [[row.key, { ...row, name: `${letters[row.kind]}${number}`, layers: own, contents, packages: new Map(contents.map(({ name, version }) => [name, version])) }] as const];
    }),
  );
}

/** Key of the image that has just these packages over this base: as Catalogue.resolve makes it. */
export function imageKey(base: string, packages: readonly ResolvedPackage[], kind?: LayerKind): string {
  const hash = createHash('sha256').update(base);
  const lines = packages.map(({ name, version, architecture }) => `${name}:${architecture}=${version}`).sort();
  for (const line of lines) hash.update(`\n${line}`);
  return kind === undefined ? hash.digest('hex') : hash.update(`\n${kind}`).digest('hex');
}
