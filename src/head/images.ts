/**
 * The site's stock of layers and images: which exist, and the way to one that does not. Two requests for the
 * same base or delta share one build. A layer is used only if its file has its noted size (every byte is read when it
 * is made, and again in idle time: making.ts); an image with a layer that is not whole is dropped.
 * What is held (Hold) or stands under a living part is never removed.
 */
import { GridError } from '../domain/error.js';
import type { Layer, ResolvedPackage, Resolution } from '../domain/image.js';
import type { SiteCandidate } from '../domain/plan-site.js';
import type { BaseImage, BuildProgress, BuiltDelta, Catalogue, ImageBuilder, MeasuredStage } from '../ports.js';
import type { Database } from '../store/database.js';
import { SharedWork } from './shared-work.js';
import { isStale, namesToAsk, splitEntry } from './staleness.js';
import { imageKey, layerRows, stockedImages, type StockedImage } from './stocked-image.js';

export interface MadeImage {
  readonly layers: readonly Layer[];
  /** Empty if nothing was built for it. */
  readonly stages: readonly MeasuredStage[];
  readonly packages: BuiltDelta['packages'];
  /** Packages above the base before something was added. */
  readonly installed: number;
  /** Of all that waited for one build, one has true: its rows are learned from. */
  readonly first: boolean;
}

interface Built {
  readonly layer: Layer;
  readonly stages: readonly MeasuredStage[];
  readonly packages: BuiltDelta['packages'];
}

export interface Building {
  readonly signal: AbortSignal;
  readonly progress: BuildProgress;
  readonly hold: Hold;
}

/** Layers that nobody removes until it is released. */
export class Hold {
  readonly digests = new Set<string>();
  constructor(private readonly ended: (hold: Hold) => void) {}
  release(): void {
    this.ended(this);
  }
}

export class ImageStock {
  private readonly bases = new SharedWork<{ layer: BaseImage; stages: readonly MeasuredStage[] }>();
  private readonly deltas = new SharedWork<Built>();
  private readonly holds = new Set<Hold>();
  private index: Promise<Map<string, StockedImage>> | undefined;
  private turn: Promise<unknown> = Promise.resolve();
  /** By base: the lists by which its images were judged. */
  private readonly judged = new Map<string, number>();

  constructor(
    private readonly db: Database,
    private readonly catalogue: Catalogue,
    private readonly builder: ImageBuilder,
    private readonly listsMaxAge: number,
  ) {}

  /** At the start, before anything is built: files that no row knows are of a build that died between its two last steps. @returns how many went */
  async recover(): Promise<number> {
    const known = new Set((await layerRows(this.db)).map(({ digest }) => digest));
    const orphans = (await this.builder.digests()).filter((digest) => !known.has(digest));
    for (const digest of orphans) await this.builder.remove(digest);
    return orphans.length;
  }

  get recipe(): string {
    return this.builder.recipe;
  }

  /** Builds under way. */
  get building(): number {
    return this.bases.size + this.deltas.size;
  }

  hold(): Hold {
    const hold = new Hold((ended) => this.holds.delete(ended));
    this.holds.add(hold);
    return hold;
  }

  // -------------------------------------------------------------- bases

  /** The base of a release, built if there is none (`stages` then says how long that took). */
  async base(os: string, signal: AbortSignal, progress: BuildProgress = () => {}): Promise<{ layer: BaseImage; stages: readonly MeasuredStage[]; first: boolean }> {
    this.checkRelease(os);
    const layer = await this.readyBase(os);
    return layer === undefined ? this.newBase(os, signal, { progress }) : { layer, stages: [], first: false };
  }

  /** A new base even if there is one. @param how.idle at the lowest priority */
  async newBase(os: string, signal: AbortSignal, how: { progress: BuildProgress; idle?: boolean }): Promise<{ layer: BaseImage; stages: readonly MeasuredStage[]; first: boolean }> {
    const { result, first } = await this.bases.join(`the base image of ${os}`, signal, async (buildSignal) => {
      const built = await this.builder.base(os, { signal: buildSignal, ...how });
      await this.db.rows('putLayer', built.layer.digest, 'base', os, built.layer.bytes, this.builder.recipe);
      return built;
    });
    return { ...result, first };
  }

  async readyBase(os: string): Promise<(BaseImage & { stale: boolean }) | undefined> {
    const row = await this.db.row<{ digest: string; bytes: number; stale: boolean }>('newestBase', os, this.builder.recipe);
    if (row === undefined) return undefined;
    if (await this.builder.has(row.digest)) return { digest: row.digest, kind: 'base', os, bytes: row.bytes, stale: row.stale };
    await this.broken(row.digest);
    return undefined;
  }

  /** Refuses an unknown release or package name at once. */
  async checkNames(os: string, names: readonly string[]): Promise<void> {
    this.checkRelease(os);
    await this.catalogue.checkNames(os, names);
  }

  private checkRelease(os: string): void {
    const releases = this.catalogue.releases();
    if (!releases.includes(os)) throw new GridError('bad-request', `this site has no release ${JSON.stringify(os)}`, { hint: `it has: ${releases.join(', ')}` });
  }

  /** Real apt's closure of `asked` over `below` (a base, or the topmost layer of an image); refuses unknown and conflicting packages. */
  async resolve(os: string, below: Layer, asked: readonly string[], signal: AbortSignal, maxAge = this.listsMaxAge): Promise<Resolution> {
    await this.catalogue.update(os, maxAge, signal);
    return this.catalogue.resolve(os, { ...below, os }, asked, signal);
  }

  // -------------------------------------------------------------- images

  /** Every image in the stock. */
  async all(): Promise<readonly StockedImage[]> {
    this.index ??= stockedImages(this.db);
    const index = await this.index.catch((error: unknown) => {
      this.index = undefined;
      throw error;
    });
    return [...index.values()];
  }

  /**
   * Compares the base and every image of its release with the newest versions in the lists, and notes what is stale. Without new lists
   * since the last time nothing is asked. A base made after the lists is as new as can be.
   */
  async judge(base: BaseImage, signal: AbortSignal): Promise<void> {
    const updated = await this.catalogue.updatedAt(base.os);
    if (this.judged.get(base.digest) === updated) return;
    const images = (await this.all()).filter((image) => image.os === base.os && image.kind !== 'debs');
    const own = (await this.builder.contents(base.digest)).map(splitEntry);
    const newest = await this.catalogue.newest(base.os, namesToAsk(own, images), signal);
    for (const image of images) if (isStale(image.packages, newest) !== image.stale) await this.setStale(image.key, !image.stale);
    const built = (await layerRows(this.db)).find(({ digest }) => digest === base.digest)?.built.getTime() ?? 0;
    await this.db.rows('setBaseStale', base.digest, built < updated && isStale(own, newest));
    this.judged.set(base.digest, updated);
  }

  /** Images to begin with, over this base: nothing stale. */
  async usable(base: Layer): Promise<readonly StockedImage[]> {
    return (await this.all()).filter((image) => !image.stale && image.kind !== 'debs' && image.layers[0]?.digest === base.digest);
  }

  /** Keeps an image's layers from being removed, then looks at them: false, and the image is dropped, if one is not whole. */
  async secure(image: { readonly key: string; readonly layers: readonly Layer[] }, hold: Hold): Promise<boolean> {
    return this.exclusive(async () => {
      for (const { digest } of image.layers) hold.digests.add(digest);
      const whole = await Promise.all(image.layers.map(({ digest }) => this.builder.has(digest)));
      if (whole.every(Boolean)) return true;
      await this.forget(image.key);
      return false;
    });
  }

  /** What the choice says: an image as it is, with the rest installed on it now, or with the rest beside it as .debs. */
  async make(chosen: Pick<SiteCandidate, 'image' | 'missing' | 'adding'>, resolution: Resolution, base: BaseImage, how: Building): Promise<MadeImage> {
    const below: readonly Layer[] = chosen.image?.layers ?? [{ digest: base.digest, kind: 'base', bytes: base.bytes }];
    const installed = chosen.image?.packages.size ?? 0;
    for (const { digest } of below) how.hold.digests.add(digest);
    if (chosen.image !== undefined) await this.used(chosen.image.key);
    if (chosen.missing.length === 0) return { layers: below, stages: [], packages: [], installed, first: false };
    const inNodes = chosen.adding === 'in-every-node';
    const before = chosen.image === undefined ? [] : ((await this.all()).find(({ key }) => key === chosen.image?.key)?.contents ?? []);
    const contents = inNodes ? chosen.missing : [...before, ...chosen.missing];
    const key = imageKey(base.digest, contents, inNodes ? 'debs' : undefined);
    const known = (await this.all()).find((image) => image.key === key && !image.stale && (inNodes || image.layers[0]?.digest === base.digest));
    if (known !== undefined && (await this.secure(known, how.hold))) {
      await this.used(key);
      return { layers: inNodes ? [...below, ...known.layers] : known.layers, stages: [], packages: [], installed, first: false };
    }
    const want = { resolution: { ...resolution, packages: chosen.missing, key }, below, contents, kind: inNodes ? 'debs' : 'delta' } as const;
    const { result, first } = await this.deltas.join(`the layer ${key.slice(0, 8)}`, how.signal, (signal) => this.build(want, base, { ...how, signal }));
    how.hold.digests.add(result.layer.digest);
    return { layers: [...below, result.layer], stages: result.stages, packages: result.packages, installed, first };
  }

  /** A cache image, made in idle time: these packages over the base, or over another image of it. `made`: what is to be learned from, if it was not there. */
  async makeCache(resolution: Resolution, base: BaseImage, core: StockedImage | undefined, how: Building & { readonly pinned?: boolean }): Promise<{ image: StockedImage; made: Built | undefined }> {
    const below: readonly Layer[] = core?.layers ?? [{ digest: base.digest, kind: 'base', bytes: base.bytes }];
    for (const { digest } of below) how.hold.digests.add(digest);
    const contents = [...(core?.contents ?? []), ...resolution.packages];
    const key = imageKey(base.digest, contents);
    const known = (await this.all()).find((one) => one.key === key && !one.stale);
    if (known !== undefined && (await this.secure(known, how.hold))) return { image: known, made: undefined };
    const want = { resolution: { ...resolution, key }, below, contents, kind: 'cache', pinned: how.pinned === true } as const;
    const { result, first } = await this.deltas.join(`the cache image ${key.slice(0, 8)}`, how.signal, (signal) => this.build(want, base, { ...how, signal }));
    const image = (await this.all()).find((one) => one.key === key);
    if (image === undefined) throw new GridError('internal', `cache image ${key.slice(0, 8)} was made and is not there`);
    return { image, made: first ? result : undefined };
  }

  private async build(want: { resolution: Resolution; below: readonly Layer[]; contents: readonly ResolvedPackage[]; kind: StockedImage['kind']; pinned?: boolean }, base: BaseImage, how: Building): Promise<Built> {
    const { resolution, kind } = want;
    const options = { signal: how.signal, progress: how.progress, above: want.below.slice(1), idle: kind === 'cache', ...(kind === 'cache' ? { kind } : {}) };
    const built = kind === 'debs' ? { packages: [], ...(await this.builder.debs(resolution, base, options)) } : await this.builder.delta(resolution, base, options);
    how.hold.digests.add(built.layer.digest);
    const layers = kind === 'debs' ? [built.layer] : [...want.below, built.layer];
    await this.db.transaction(async (tx) => {
      await tx.rows('putLayer', built.layer.digest, kind, resolution.os, built.layer.bytes, '');
      await tx.rows('putImage', resolution.key, resolution.os, kind, layers[0]?.digest ?? '', layers.map(({ digest }) => digest), JSON.stringify(want.contents), resolution.asked, want.pinned === true);
    });
    this.index = undefined;
    return built;
  }

  private async used(key: string): Promise<void> {
    await this.db.rows('useImage', key);
    const index = await this.index;
    const image = index?.get(key);
    if (image !== undefined) index?.set(key, { ...image, uses: image.uses + 1, lastUsed: new Date() });
  }

  // -------------------------------------------------------------- removing

  private async setStale(key: string, stale: boolean): Promise<void> {
    await this.db.rows('setImageStale', key, stale);
    this.index = undefined;
  }

  async pin(key: string): Promise<void> {
    await this.db.rows('pinImage', key);
    this.index = undefined;
  }

  async forget(key: string): Promise<void> {
    await this.db.rows('dropImage', key);
    this.index = undefined;
  }

  /** A layer whose bytes are wrong: its images go, its file too. Nodes that run on it are not touched. */
  async broken(digest: string): Promise<void> {
    for (const { key } of await this.db.rows<{ key: string }>('imagesWithLayer', digest)) await this.forget(key);
    await this.db.rows('dropLayer', digest);
    await this.builder.remove(digest);
  }

  /** Reads these layers whole; those that are wrong go. @returns their digests */
  async findBroken(layers: readonly Pick<Layer, 'digest'>[], signal: AbortSignal): Promise<readonly string[]> {
    const found: string[] = [];
    for (const { digest } of layers) {
      if (await this.builder.verify(digest, signal)) await this.db.rows('layerVerified', digest);
      else {
        await this.broken(digest);
        found.push(digest);
      }
    }
    return found;
  }

  /** Digests that must stay: under living parts, or held. */
  async inUse(): Promise<ReadonlySet<string>> {
    const living = await this.db.rows<{ digest: string }>('layersInUse');
    return new Set([...living.map(({ digest }) => digest), ...[...this.holds].flatMap((hold) => [...hold.digests])]);
  }

  /** Removes a layer that no image needs, unless it is in use. @returns bytes freed; undefined if it stays */
  async removeLayer(digest: string): Promise<number | undefined> {
    return this.exclusive(async () => {
      if ((await this.inUse()).has(digest) || (await this.db.rows('imagesWithLayer', digest)).length > 0) return undefined;
      await this.db.rows('dropLayer', digest);
      return this.builder.remove(digest);
    });
  }

  /** One after the other: nobody may begin to hold a layer while it is being removed. */
  private exclusive<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.turn.then(work, work);
    this.turn = mine.catch(() => undefined);
    return mine;
  }
}
