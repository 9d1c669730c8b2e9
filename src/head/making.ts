/**
 * Idle work: refreshed lists, a new base after security updates, images worth making, layers read whole again, garbage.
 * It begins when no request has been at work for a while, runs at the lowest priority, and is abandoned in the moment in
 * which one comes; what it had not finished begins again the next time. Nothing of it can fail a request.
 */
import { GridError } from '../domain/error.js';
import type { BaseImage, Catalogue, Collected } from '../ports.js';
import { collectGarbage, type Collecting, type Limits } from './collect.js';
import type { CacheConfig } from './config.js';
import { demandsOn, recentClosures, type AskedOften } from './demand.js';
import type { HeadParts } from './bring-up.js';
import { hostSpeed } from './host-speed.js';
import type { StockedImage } from './stocked-image.js';
import { mostLayers, savedByImage, wantedImages, type Wanted } from './wanted.js';

export interface MakerParts {
  readonly head: HeadParts;
  readonly collecting: Collecting;
  readonly catalogue: Catalogue;
  readonly cache: CacheConfig;
  readonly releases: readonly string[];
  readonly listsMaxAge: number;
}

const lookMs = 500;
const againSeconds = 600; // without any change: lists grow old, layers come due

export class Maker {
  /** Predicted seconds that each image is worth, by key, as of the last round. */
  values: ReadonlyMap<string, number> = new Map();
  private demands: Limits['demands'] = [];
  private running: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;
  private timer: NodeJS.Timeout | undefined;
  private seen = { begun: -1, at: -Infinity };
  private readonly failed = new Set<string>();
  private readonly lists = new Map<string, number>();
  private unlisten = (): void => {};

  constructor(private readonly parts: MakerParts) {}

  start(): void {
    this.unlisten = this.parts.head.activity.onBegin(() => this.running?.stop.abort());
    this.timer = setInterval(() => this.look(), lookMs);
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    this.unlisten();
    this.running?.stop.abort();
    await this.running?.done;
  }

  /** Begins a round if it is time for one. */
  private look(): void {
    const { activity } = this.parts.head;
    const changed = activity.begun !== this.seen.begun || performance.now() - this.seen.at > againSeconds * 1000;
    if (this.running !== undefined || !changed || activity.atWork > 0 || activity.idleSeconds() < this.parts.cache.idleSeconds) return;
    const begun = activity.begun;
    const stop = new AbortController();
    const done = this.round(stop.signal)
      .then(() => void (this.seen = { begun, at: performance.now() }))
      .catch((error: unknown) => {
        if (stop.signal.aborted) return;
        this.seen = { begun, at: performance.now() };
        this.parts.head.log.warn({ err: error }, 'idle work failed; it is tried again later');
      })
      .finally(() => void (this.running = undefined));
    this.running = { stop, done };
  }

  private async round(signal: AbortSignal): Promise<void> {
    for (const os of this.parts.releases) {
      const base = await this.freshBase(os, signal);
      if (base !== undefined) await this.makeFor(base, signal);
    }
    await this.verify(signal);
    const { bytes, removed } = await this.collect(signal);
    if (removed.length > 0) this.parts.head.log.info({ bytes, removed }, 'cache collected');
  }

  /** Lists of today, what they make stale, and a base without known holes. Undefined: there is none yet, a request or the start makes it. */
  private async freshBase(os: string, signal: AbortSignal): Promise<BaseImage | undefined> {
    const { head, catalogue } = this.parts;
    const base = await head.stock.readyBase(os);
    if (base === undefined) return undefined;
    await catalogue.update(os, this.parts.listsMaxAge, signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      head.log.warn({ err: error }, 'package lists could not be refreshed in idle time');
    });
    await head.stock.judge(base, signal);
    const lists = await catalogue.updatedAt(os);
    if (this.lists.get(os) !== lists) this.failed.clear(); // what could not be made by the old ones may be by these
    this.lists.set(os, lists);
    if ((await head.stock.readyBase(os))?.stale !== true) return base;
    head.log.info({ os, base: base.digest }, 'the base has newer versions in the lists; making a new one');
    const made = await head.stock.newBase(os, signal, { progress: () => {}, idle: true }).catch((error: unknown) => {
      if (signal.aborted) throw error;
      head.log.warn({ err: error, os }, 'the new base could not be made; the old one serves');
      return undefined;
    });
    if (made === undefined) return base;
    await head.parts.madeInIdle([{ stage: 'base', seconds: made.stages.reduce((sum, { seconds }) => sum + seconds, 0), bytes: made.layer.bytes, items: 1 }], [], { speed: hostSpeed() });
    return made.layer;
  }

  private async makeFor(base: BaseImage, signal: AbortSignal): Promise<void> {
    const { head, cache } = this.parts;
    const asked = await recentClosures(head, base, cache.requests, signal);
    const needs = await this.needs(base.os, asked, signal);
    const tried = new Set<string>();
    for (;;) {
      const [images, models] = await Promise.all([head.stock.usable(base), head.clock.models()]);
      await this.weigh(asked, images, signal);
      const wanted = (await wantedImages({ cache, asked, images, models, hosts: head.hosts.all.length, needs, signal })).find((one) => !this.failed.has(keyOf(one)) && !tried.has(keyOf(one)));
      if (wanted === undefined) return;
      tried.add(keyOf(wanted)); // apt may have added to it: then it is not the very image that was thought of
      await this.make(wanted, base, signal);
    }
  }

  /** Without it images are made of larger pieces than need be: no reason to make none. */
  private async needs(os: string, asked: readonly AskedOften[], signal: AbortSignal): Promise<ReadonlyMap<string, readonly string[]>> {
    const names = [...new Set(asked.flatMap(({ resolution }) => resolution.packages.map(({ name }) => name)))];
    return this.parts.catalogue.needs(os, names, signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      this.parts.head.log.warn({ err: error }, 'what packages depend on could not be read');
      return new Map();
    });
  }

  /** Keeps what each image is worth, for eviction and for the administrator. */
  private async weigh(asked: readonly AskedOften[], images: readonly StockedImage[], signal: AbortSignal): Promise<void> {
    const models = await this.parts.head.clock.models();
    const demands = await demandsOn(asked, images.length, (image, closure) => (images[image] === undefined ? 0 : savedByImage({ asked, models }, images[image], closure)), signal);
    this.demands = demands.map(({ weight, saves }) => ({ weight, saves: new Map([...saves].map(([at, seconds]) => [images[at]?.key ?? '', seconds])) }));
    this.values = worth(this.demands);
  }

  /** Makes one image, its core first. One that cannot be made is not tried again until the lists change. */
  private async make(wanted: Wanted, base: BaseImage, signal: AbortSignal): Promise<StockedImage | undefined> {
    const { head } = this.parts;
    try {
      const core = wanted.core === undefined ? undefined : ((await this.held(wanted.core, base)) ?? (await this.make(wanted.core, base, signal)));
      if (wanted.core !== undefined && core === undefined) throw new GridError('build-failed', 'the image that it would stand on could not be made');
      const names = wanted.packages.map(({ name }) => name);
      const image = await this.build(base, core, names, signal);
      head.log.info({ image: image.name, packages: image.packages.size, value: wanted.value }, 'cache image made');
      return image;
    } catch (error) {
      if (signal.aborted) throw error;
      this.failed.add(keyOf(wanted));
      head.log.warn({ err: error, packages: wanted.packages.length }, 'a cache image could not be made');
      return undefined;
    }
  }

  private async held(wanted: Wanted, base: BaseImage): Promise<StockedImage | undefined> {
    return (await this.parts.head.stock.usable(base)).find((image) => image.packages.size === wanted.packages.length && wanted.packages.every(({ name, version }) => image.packages.get(name) === version));
  }

  /** One cache image of these packages (and what apt adds), above the base or another image. */
  async build(base: BaseImage, core: StockedImage | undefined, names: readonly string[], signal: AbortSignal, pinned = false): Promise<StockedImage> {
    const { head } = this.parts;
    const hold = head.stock.hold();
    try {
      if (core !== undefined && !(await head.stock.secure(core, hold))) throw new GridError('not-found', `image ${core.name} is damaged`);
      const resolution = await head.stock.resolve(base.os, core?.layers.at(-1) ?? base, names, signal);
      if (resolution.packages.length === 0) throw new GridError('bad-request', 'the base image has all of these packages already');
      const { image, made } = await head.stock.makeCache(resolution, base, core !== undefined && core.layers.length < mostLayers ? core : undefined, { signal, progress: () => {}, hold, pinned });
      if (made !== undefined) await head.parts.madeInIdle(made.stages, made.packages, { installed: core?.packages.size ?? 0, speed: hostSpeed(), concurrency: head.stock.building + 1 });
      return image;
    } finally {
      hold.release();
    }
  }

  /** Reads layers whole whose last reading is too long ago, a few each round. */
  private async verify(signal: AbortSignal): Promise<void> {
    const { head, cache } = this.parts;
    for (;;) {
      const due = await head.db.row<{ digest: string }>('leastVerified', new Date(Date.now() - cache.verifyHours * 3_600_000));
      if (due === undefined) return;
      const broken = await head.stock.findBroken([due], signal);
      if (broken.length > 0) head.log.error({ layer: due.digest }, 'a layer was damaged on the disk; it and its images are gone');
    }
  }

  /** @param bytes instead of the configured budget */
  collect(signal: AbortSignal, bytes = this.parts.cache.megabytes * 1e6, archives = this.parts.cache.archiveMegabytes * 1e6): Promise<Collected> {
    return collectGarbage(this.parts.collecting, { bytes, archives, demands: this.demands, signal });
  }
}

function keyOf(wanted: Wanted): string {
  return [...(wanted.core === undefined ? [] : [keyOf(wanted.core)]), ...wanted.packages.map(({ name, version }) => `${name}=${version}`)].join(' ');
}

/** By key: seconds that would be lost without the image, the others being there. */
function worth(demands: Limits['demands']): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const { weight, saves } of demands) {
    const [[key, best] = ['', 0], [, second] = ['', 0]] = [...saves].sort((a, b) => b[1] - a[1]);
    values.set(key, (values.get(key) ?? 0) + weight * (best - second));
  }
  return values;
}
