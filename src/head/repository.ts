/** The cache repository as its administrator sees it (ports.ts): what is held, one more image, garbage now. */
import { GridError } from '../domain/error.js';
import type { Collected, Repository, StoredImage, StoredImageDetails } from '../ports.js';
import { openBundles, type HeadParts } from './bring-up.js';
import type { Maker } from './making.js';
import { layerRows, type LayerRow, type StockedImage } from './stocked-image.js';

export class CacheRepository implements Repository {
  constructor(
    private readonly head: HeadParts,
    private readonly maker: Maker,
    private readonly contentsOf: (digest: string) => Promise<readonly string[]>,
  ) {}

  async images(): Promise<readonly StoredImage[]> {
    const { stock, db } = this.head;
    const [images, layers, inUse] = await Promise.all([stock.all(), layerRows(db), stock.inUse()]);
    const bases = await Promise.all(layers.filter(({ kind }) => kind === 'base').map((row) => this.viewBase(row, images, inUse)));
    return [...images.map((image) => this.view(image, inUse)), ...bases].sort((a, b) => b.value - a.value || b.lastUsed.localeCompare(a.lastUsed));
  }

  async image(name: string): Promise<StoredImageDetails> {
    const { stock, db } = this.head;
    const summary = (await this.images()).find((image) => image.name === name);
    const image = (await stock.all()).find((one) => one.name === name);
    if (summary === undefined) throw new GridError('not-found', `this head holds no image ${JSON.stringify(name.slice(0, 80))}`, { hint: 'gridvc image list shows what it holds' });
    if (image !== undefined) return { ...summary, layers: image.layers, contents: [...image.packages].map(([own, version]) => `${own}=${version}`).sort() };
    const row = (await layerRows(db)).find((one) => baseName(one) === name);
    return { ...summary, layers: row === undefined ? [] : [{ digest: row.digest, kind: row.kind, bytes: row.bytes }], contents: [...(await this.contentsOf(row?.digest ?? ''))].sort() };
  }

  async build(asked: { readonly os: string; readonly packages: readonly string[]; readonly bundles: readonly string[] }, signal: AbortSignal): Promise<StoredImage> {
    const { stock, bundles, activity } = this.head;
    if (activity.atWork > 0) throw new GridError('wrong-state', `${activity.atWork} requests are at work on this head; images are made when it is idle`, { hint: 'try again in a moment' });
    const names = openBundles(bundles, asked);
    const stop = new AbortController();
    const abandon = (): void => stop.abort();
    const unlisten = activity.onBegin(abandon);
    signal.addEventListener('abort', abandon, { once: true });
    try {
      const base = (await stock.base(asked.os, stop.signal)).layer;
      const wanted = await stock.resolve(asked.os, base, names, stop.signal);
      const held = (await stock.usable(base)).find((image) => wanted.packages.every(({ name, version }) => image.packages.get(name) === version));
      if (held !== undefined) await stock.pin(held.key);
      return this.view(held ?? (await this.maker.build(base, undefined, names, stop.signal, true)), await stock.inUse());
    } catch (error) {
      if (stop.signal.aborted && !signal.aborted) throw new GridError('interrupted', 'a request needed the machine; the image was not made', { hint: 'try again when the site is idle', cause: error });
      throw error;
    } finally {
      unlisten();
      signal.removeEventListener('abort', abandon);
    }
  }

  collect(): Promise<Collected> {
    return this.maker.collect(new AbortController().signal);
  }

  private view(image: StockedImage, inUse: ReadonlySet<string>): StoredImage {
    const { name, os, uses, packages, layers, stale } = image;
    const own = image.kind === 'debs' ? layers : layers.slice(1);
    return {
      name, kind: image.kind, os, packages: packages.size, uses, state: stale ? 'stale' : 'fresh',
      bytes: own.reduce((sum, { bytes }) => sum + bytes, 0),
      made: image.built.toISOString(),
      lastUsed: image.lastUsed.toISOString(),
      value: this.maker.values.get(image.key) ?? 0,
      inUse: inUse.has(layers.at(-1)?.digest ?? ''),
    };
  }

  /** A base is used as often as the images that stand on it. */
  private async viewBase(row: LayerRow, images: readonly StockedImage[], inUse: ReadonlySet<string>): Promise<StoredImage> {
    const above = images.filter((image) => image.layers[0]?.digest === row.digest);
    const last = Math.max(row.built.getTime(), ...above.map(({ lastUsed }) => lastUsed.getTime()));
    return {
      name: baseName(row), kind: 'base', os: row.os, packages: (await this.contentsOf(row.digest)).length, bytes: row.bytes,
      uses: above.reduce((sum, { uses }) => sum + uses, 0), made: row.built.toISOString(), lastUsed: new Date(last).toISOString(), value: 0, state: row.stale ? 'stale' : 'fresh', inUse: inUse.has(row.digest),
    };
  }
}

function baseName({ digest }: { readonly digest: string }): string {
  return `b${digest.slice(0, 7)}`;
}
