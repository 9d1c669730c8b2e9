/** Real layers for tests: the base is built once and kept in a cache directory between runs (GRIDVC_TEST_CACHE). */
import { spawnSync } from 'node:child_process';
import { existsSync, linkSync, copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Layer } from '../../src/domain/image.js';
import type { BaseImage } from '../../src/ports.js';
import { AptCatalogue, type CatalogueOptions } from '../../src/image/apt.js';
import { DebianBuilder } from '../../src/image/builder.js';
import { DebianKernels } from '../../src/image/kernel.js';
import { LayerStore } from '../../src/image/layer-store.js';

export const testCache = process.env['GRIDVC_TEST_CACHE'] ?? '/var/cache/gridvc-test';
const os = 'bookworm';

export interface Workshop {
  readonly store: LayerStore;
  readonly catalogue: AptCatalogue;
  readonly builder: DebianBuilder;
}

/** Builder and catalogue with this home; .debs are shared by all tests. */
export function workshop(home: string, options: Partial<CatalogueOptions> = {}): Workshop {
  const store = new LayerStore(home);
  const catalogue = new AptCatalogue({ home, releases: [os], archives: join(testCache, 'archives'), statusOf: (digest) => store.statusPath(digest), ...options });
  return { store, catalogue, builder: new DebianBuilder(store, catalogue) };
}

/** The cached base of this recipe, built now if there is none. */
export async function testBase(): Promise<BaseImage> {
  const { store, builder } = workshop(testCache);
  const note = join(testCache, `base-${builder.recipe.slice(0, 16)}`);
  const digest = existsSync(note) ? readFileSync(note, 'utf8') : undefined;
  if (digest !== undefined && (await builder.has(digest))) return { digest, kind: 'base', os, bytes: statSync(store.path(digest)).size };
  const { layer } = await builder.base(os, quiet());
  writeFileSync(note, layer.digest);
  return layer;
}

/** The layers for these packages (none: the base alone) over the base, from the cache directory if they were made before. */
export async function testImage(packages: readonly string[]): Promise<Layer[]> {
  const base = await testBase();
  if (packages.length === 0) return [base];
  const { catalogue, builder } = workshop(testCache);
  await catalogue.update(os, 24 * 3600);
  const resolution = await catalogue.resolve(os, base, packages);
  const index = join(testCache, 'images.json');
  const known = existsSync(index) ? (JSON.parse(readFileSync(index, 'utf8')) as Record<string, Layer>) : {};
  const cached = known[resolution.key];
  if (cached && (await builder.has(cached.digest))) return [base, cached];
  const { layer } = await builder.delta(resolution, base, quiet());
  writeFileSync(index, JSON.stringify({ ...known, [resolution.key]: layer }));
  return [base, layer];
}

/** The cached kernel of this recipe, prepared now if there is none. */
export async function testKernel(): Promise<Layer> {
  const { catalogue, store } = workshop(testCache);
  await catalogue.update(os, 24 * 3600);
  const kernels = new DebianKernels(store, catalogue);
  const note = join(testCache, `kernel-${(await kernels.recipe(os)).slice(0, 16)}.json`);
  const known = existsSync(note) ? (JSON.parse(readFileSync(note, 'utf8')) as Layer) : undefined;
  if (known !== undefined && (await kernels.has(known.digest))) return known;
  const layer = await kernels.build(os, quiet());
  writeFileSync(note, JSON.stringify(layer));
  return layer;
}

export function testKernelPath(kernel: Layer): string {
  return new LayerStore(testCache).path(kernel.digest);
}

/** Gives another home the base, without copying where one file system has both. */
export function lendBase(base: BaseImage, home: string): void {
  const from = new LayerStore(testCache).layers;
  const to = new LayerStore(home).layers;
  mkdirSync(to, { recursive: true });
  for (const suffix of ['sqfs', 'status', 'json']) {
    const name = `${base.digest}.${suffix}`;
    try {
      linkSync(join(from, name), join(to, name));
    } catch {
      copyFileSync(join(from, name), join(to, name));
    }
  }
}

export function quiet(signal: AbortSignal = new AbortController().signal): { signal: AbortSignal; progress: () => void } {
  return { signal, progress: () => undefined };
}

/** Why images cannot be built here, or undefined. */
export function whyNoImages(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const command of ['mmdebstrap', 'mksquashfs', 'unshare', 'setpriv']) {
    if (spawnSync('sh', ['-c', 'command -v "$1"', 'sh', command]).status !== 0) return `${command} is not installed (gridvc doctor)`;
  }
  return spawnSync('unshare', ['--mount', '--pid', '--fork', 'true']).status === 0 ? undefined : 'no right to make namespaces';
}
