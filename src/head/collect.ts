/**
 * What goes, and from where: stale images, images beyond the budget by value, layers that nothing needs, on the head and
 * on its hosts, fetched .debs. Nothing under a living part or held by a build ever goes (ImageStock.removeLayer looks again).
 */
import { evictions } from '../domain/cache/value.js';
import type { Demand } from '../domain/cache/saved-time.js';
import type { Collected, Distributor, ImageBuilder } from '../ports.js';
import type { Log } from '../log.js';
import type { Database } from '../store/database.js';
import type { Hosts } from './hosts.js';
import type { ImageStock } from './images.js';
import { layerRows, type LayerRow, type StockedImage } from './stocked-image.js';
import { offerOf } from './wanted.js';

export interface Collecting {
  readonly db: Database;
  readonly stock: ImageStock;
  readonly builder: ImageBuilder;
  readonly hosts: Hosts;
  readonly distributor: Distributor;
  readonly log: Log;
}

export interface Limits {
  /** Bytes of all layers above the bases. */
  readonly bytes: number;
  /** Bytes of fetched .debs. */
  readonly archives: number;
  /** What was asked of late, with the seconds that each image saves it, by its key. Empty: last used goes last. */
  readonly demands: readonly { readonly weight: number; readonly saves: ReadonlyMap<string, number> }[];
  readonly signal: AbortSignal;
}

type Removed = Collected['removed'][number];

const mostImages = 300;
const debsHours = 1;

export async function collectGarbage(of: Collecting, limits: Limits): Promise<Collected> {
  const removed: Removed[] = [...(await dropImages(of, limits)), ...(await dropLayers(of, limits.signal))];
  removed.push(...(await dropFromHosts(of, limits.signal)));
  const debs = await of.builder.trimArchives(limits.archives);
  if (debs > 0) removed.push({ what: 'fetched .debs', where: 'head', bytes: debs, reason: 'longest unused' });
  return { removed, bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** Images that are not to be used any more. Their layers go afterwards, as soon as nothing stands on them. */
async function dropImages({ db, stock }: Collecting, limits: Limits): Promise<readonly Removed[]> {
  const newest = newestBases(await layerRows(db), stock.recipe);
  const reasons = new Map<StockedImage, string>();
  const kept: StockedImage[] = [];
  for (const image of await stock.all()) {
    const why = useless(image, newest);
    if (why === undefined) kept.push(image);
    else reasons.set(image, why);
  }
  for (const at of evictions(...(await keepables(stock, kept, limits)), limits.bytes, mostImages)) {
    const image = kept[at];
    if (image !== undefined) reasons.set(image, 'over the budget, and worth least');
  }
  for (const { key } of reasons.keys()) await stock.forget(key);
  return [...reasons].map(([image, reason]) => ({ what: `image ${image.name}`, where: 'head', bytes: 0, reason }));
}

function useless(image: StockedImage, newest: ReadonlySet<string>): string | undefined {
  if (image.stale) return 'newer versions are in the lists';
  if (image.kind === 'debs') return Date.now() - image.lastUsed.getTime() > debsHours * 3_600_000 ? 'installed by its nodes' : undefined;
  return newest.has(image.layers[0]?.digest ?? '') ? undefined : 'its base was replaced';
}

/** Least valuable first; without a past to weigh by, by last use. */
async function keepables(stock: ImageStock, images: readonly StockedImage[], limits: Limits): Promise<[Parameters<typeof evictions>[0], readonly Demand[]]> {
  const inUse = await stock.inUse();
  const oldest = [...images].sort((a, b) => a.lastUsed.getTime() - b.lastUsed.getTime());
  const keepable = images.map((image) => ({ ...(image.kind === 'debs' ? { layers: image.layers.map(({ digest, bytes }) => ({ id: Number.parseInt(digest.slice(0, 12), 16), bytes })) } : offerOf(image)), inUse: inUse.has(image.layers.at(-1)?.digest ?? ''), pinned: image.pinned }));
  const past = limits.demands.map(({ weight, saves }): Demand => ({ weight, saves: new Map(images.flatMap((image, at) => (saves.has(image.key) ? [[at, saves.get(image.key) ?? 0] as const] : []))) }));
  // last used goes last among images of no value: a millionth of a second for each place in that order
  const order = images.map((image, at): Demand => ({ weight: 1e-6 * (1 + oldest.indexOf(image)), saves: new Map([[at, 1]]) }));
  return [keepable, [...past, ...order]];
}

async function dropLayers({ db, stock, log }: Collecting, signal: AbortSignal): Promise<readonly Removed[]> {
  const rows = await layerRows(db);
  const newest = new Set([...newestBases(rows, stock.recipe), ...newestKernels(rows)]);
  const removed: Removed[] = [];
  for (const row of rows) {
    if (signal.aborted) break;
    if (newest.has(row.digest)) continue;
    const bytes = await stock.removeLayer(row.digest);
    if (bytes === undefined) continue;
    log.info({ layer: row.digest, kind: row.kind, bytes }, 'layer removed');
    removed.push({ what: `${row.kind} layer ${row.digest.slice(0, 12)}`, where: 'head', bytes, reason: row.kind === 'base' || row.kind === 'kernel' ? `replaced by a newer ${row.kind}` : 'no image stands on it' });
  }
  return removed;
}

/** Layers on hosts that the head itself has no more, and no living part stands on. */
async function dropFromHosts({ db, stock, hosts, distributor, log }: Collecting, signal: AbortSignal): Promise<readonly Removed[]> {
  const removed: Removed[] = [];
  for (const host of hosts.all) {
    if (signal.aborted) break;
    try {
      const { digests } = await distributor.held(host.transport, signal);
      const had = [...digests]; // listed before we ask what is needed: a layer that comes now is not among them
      const needed = new Set([...(await layerRows(db)).map(({ digest }) => digest), ...(await stock.inUse())]);
      const gone = await distributor.drop(had.filter((digest) => !needed.has(digest)), host.transport, signal);
      removed.push(...gone.map(({ digest, bytes }) => ({ what: `layer ${digest.slice(0, 12)}`, where: host.name, bytes, reason: 'no longer on the head' })));
    } catch (error) {
      log.warn({ host: host.name, err: error }, 'the layers of a host could not be collected; the next time');
    }
  }
  return removed;
}

/** Of each release the newest base of today's recipe. @param rows newest first */
function newestBases(rows: readonly LayerRow[], recipe: string): ReadonlySet<string> {
  const bases = rows.filter(({ kind, recipe: own }) => kind === 'base' && own === recipe);
  return new Set([...new Set(bases.map(({ os }) => os))].flatMap((os) => bases.find((base) => base.os === os)?.digest ?? []));
}

/** @param rows newest first */
function newestKernels(rows: readonly LayerRow[]): ReadonlySet<string> {
  const kernels = rows.filter(({ kind }) => kind === 'kernel');
  return new Set([...new Set(kernels.map(({ os }) => os))].flatMap((os) => kernels.find((kernel) => kernel.os === os)?.digest ?? []));
}
