/**
 * A simulated site: serves a trace under one policy of making images, with the head's own models
 * and choice, and counts. Time passes only in numbers.
 */
import { chooseImage, type Candidate } from '../../src/domain/cache/image-choice.js';
import { ownSeconds } from '../../src/domain/estimate/packages.js';
import { coldSite, learn, predict, type SiteModels } from '../../src/domain/estimate/site.js';
import { hostCount, type Closure, type SimulatedRequest } from './trace.js';
import { layerPerDeb, type World } from './world.js';

/** Layers over the base. */
export interface CacheImage {
  readonly id: number;
  readonly packages: readonly number[];
  readonly has: Uint8Array;
  readonly layers: readonly { readonly id: number; readonly bytes: number }[];
  /** The image that its last layer stands on, if that is not the base. */
  readonly parent?: CacheImage;
}

export function bytesOf(images: readonly CacheImage[]): number {
  const layers = new Map(images.flatMap((image) => image.layers.map(({ id, bytes }) => [id, bytes] as const)));
  return [...layers.values()].reduce((sum, bytes) => sum + bytes, 0);
}

export interface Policy {
  readonly name: string;
  /** Called before each request, in idle time: the images to hold from now on, or undefined to leave them. */
  idle?(site: Site, at: number): readonly CacheImage[] | undefined;
  /** Called after a delta was built for a request; `image` is all that its nodes have. Returns what to hold from now on. */
  built?(site: Site, image: CacheImage): readonly CacheImage[] | undefined;
  /** Called when a held image served. */
  used?(image: CacheImage): void;
}

export interface Outcome {
  readonly policy: string;
  readonly mean: number;
  readonly p95: number;
  /** Mean bytes of the cache layers held. */
  readonly stored: number;
  readonly sent: number;
  /** Mean seconds lost a request because a worse image was taken than the best held one, by the truth. */
  readonly regret: number;
}

const learnAll = 100; // the head learns from every install; here, after so many, from each twentieth: it costs the simulator most of its time
const snapshotEvery = 1000; // requests between two sets of memoized predictions

interface Served extends Candidate {
  readonly image: CacheImage | undefined;
  readonly truth: number;
}

export class Site {
  models: SiteModels = coldSite;
  held: readonly CacheImage[] = [];
  readonly past: Closure[] = [];
  private readonly images = new Map<string, CacheImage>();
  private readonly hosts = Array.from({ length: hostCount }, () => new Set<number>());
  private installs = 0;
  private heldBytes = 0;
  private memo = new Map<number, { install: number; download: number; pack: number }>();
  private perByte: { models: SiteModels; seconds: number } | undefined;
  private readonly truths = new Map<number, number>();
  private readonly missed = new Map<number, readonly number[]>();

  constructor(
    readonly world: World,
    readonly trace: readonly SimulatedRequest[],
    readonly budget: number,
  ) {}

  /** The image of a closure: one layer over the base, or one more over `parent`'s (and then with its packages). */
  image(closure: Closure, parent?: CacheImage): CacheImage {
    const key = `${parent?.id ?? ''}+${closure.id}`;
    const known = this.images.get(key);
    if (known !== undefined) return known;
    const own = closure.packages.filter((index) => parent?.has[index] !== 1);
    const packages = [...(parent?.packages ?? []), ...own];
    const has = new Uint8Array(this.world.data.packages.length);
    for (const index of packages) has[index] = 1;
    const id = this.images.size;
    const image = { id, packages, has, layers: [...(parent?.layers ?? []), { id, bytes: Math.round(this.world.bytesOf(own) * layerPerDeb) }], ...(parent === undefined ? {} : { parent }) };
    this.images.set(key, image);
    return image;
  }

  run(policy: Policy): Outcome {
    const times: number[] = [];
    let sent = 0;
    let stored = 0;
    let regret = 0;
    this.trace.forEach((request, at) => {
      if (at % snapshotEvery === 0) this.memo = new Map();
      this.hold(policy.idle?.(this, at));
      const served = [undefined, ...this.held].map((image) => this.candidate(request, image)) as [Served, ...Served[]];
      const { chosen } = chooseImage(served);
      times.push(chosen.truth);
      regret += chosen.truth - Math.min(...served.map(({ truth }) => truth));
      sent += this.serve(request, chosen.image, policy);
      stored += this.heldBytes;
      this.past.push(request.closure);
    });
    const n = this.trace.length;
    times.sort((a, b) => a - b);
    return { policy: policy.name, mean: times.reduce((a, b) => a + b, 0) / n, p95: times[Math.floor(0.95 * n)] ?? 0, stored: stored / n, sent, regret: regret / n };
  }

  /** Predicted seconds of one package, with what its bytes cost in download and pack: its worth in an image. */
  secondsOf(index: number): number {
    const [name = '', bytes = 0] = this.world.data.packages[index] ?? [];
    return ownSeconds(this.models.install.packages, { name, debBytes: bytes }) + bytes * this.secondsPerByte();
  }

  private secondsPerByte(): number {
    if (this.perByte?.models === this.models) return this.perByte.seconds;
    const many = 1e8;
    const of = (stage: 'download' | 'pack', bytes: number): number => predict(this.models, { stage, bytes, items: 1 }).seconds;
    const seconds = (of('download', many) - of('download', 0) + of('pack', many) - of('pack', 0)) / many;
    this.perByte = { models: this.models, seconds };
    return seconds;
  }

  /** Predicted seconds of a closure that are no single package's: one transaction, its triggers, the begin of a download and of packing. */
  wholeSeconds(closure: Closure): number {
    return Math.max(0, this.seconds(closure, undefined) - closure.packages.reduce((sum, index) => sum + this.secondsOf(index), 0));
  }

  /** Predicted seconds that requests wait, all together, until every host has a layer of so many bytes. */
  bringSeconds(bytes: number): number {
    const of = (size: number): number => predict(this.models, { stage: 'distribute', bytes: size, items: hostCount }).seconds;
    return of(bytes * hostCount) - of(0);
  }

  /** Predicted seconds that an image saves a closure against the base image, on hosts that have it. */
  saves(closure: Closure, image: CacheImage): number {
    return this.seconds(closure, undefined) - this.seconds(closure, image);
  }

  /** The same by the truth. */
  trulySaves(closure: Closure, image: CacheImage): number {
    return this.truth(closure, undefined) - this.truth(closure, image);
  }

  private truth(closure: Closure, image: CacheImage | undefined): number {
    const key = keyOf(closure, image);
    const known = this.truths.get(key);
    if (known !== undefined) return known;
    const missing = this.missing(closure, image);
    const bytes = this.world.bytesOf(missing);
    const seconds = this.world.installSeconds(missing, image?.packages.length ?? 0) + this.world.downloadSeconds(bytes) + this.world.packSeconds(bytes);
    this.truths.set(key, seconds);
    return seconds;
  }

  private seconds(closure: Closure, image: CacheImage | undefined): number {
    const { install, download, pack } = this.predicted(closure, image);
    return install + download + pack;
  }

  private predicted(closure: Closure, image: CacheImage | undefined): { install: number; download: number; pack: number } {
    const key = keyOf(closure, image);
    const ready = this.memo.get(key);
    if (ready !== undefined) return ready;
    const missing = this.missing(closure, image);
    const bytes = this.world.bytesOf(missing);
    const packages = missing.map((index) => ({ name: this.world.data.packages[index]?.[0] ?? '', debBytes: this.world.data.packages[index]?.[1] ?? 0 }));
    const work = { bytes, items: missing.length };
    const fresh = missing.length === 0 ? { install: 0, download: 0, pack: 0 } : {
      install: predict(this.models, { stage: 'install', ...work, install: { packages, installed: image?.packages.length ?? 0 } }).seconds,
      download: predict(this.models, { stage: 'download', ...work }).seconds,
      pack: predict(this.models, { stage: 'pack', ...work, items: 1 }).seconds,
    };
    this.memo.set(key, fresh);
    return fresh;
  }

  private missing(closure: Closure, image: CacheImage | undefined): readonly number[] {
    if (image === undefined) return closure.packages;
    const key = keyOf(closure, image);
    const ready = this.missed.get(key);
    if (ready !== undefined) return ready;
    const missing = closure.packages.filter((index) => image.has[index] === 0);
    this.missed.set(key, missing);
    return missing;
  }

  private candidate(request: SimulatedRequest, image: CacheImage | undefined): Served {
    const { world } = this;
    const missing = this.missing(request.closure, image);
    const bytes = world.bytesOf(missing);
    const wire = this.wire(request, image, bytes);
    const truth = this.truth(request.closure, image) + world.transferSeconds(wire, request.hosts.length) + world.startSeconds(request.nodes);
    const distribute = predict(this.models, { stage: 'distribute', bytes: wire, items: request.hosts.length }).seconds;
    return { label: image === undefined ? 'base image' : `image ${image.id}`, adding: 'once-on-the-head', seconds: { ...this.predicted(request.closure, image), distribute }, image, truth };
  }

  /** Bytes to send: the image to hosts that lack it, the delta to all. */
  private wire(request: SimulatedRequest, image: CacheImage | undefined, missingBytes: number): number {
    const lacking = (image?.layers ?? []).reduce((sum, layer) => sum + layer.bytes * request.hosts.filter((host) => this.hosts[host]?.has(layer.id) === false).length, 0);
    return lacking + request.hosts.length * Math.round(missingBytes * layerPerDeb);
  }

  private serve(request: SimulatedRequest, image: CacheImage | undefined, policy: Policy): number {
    const missing = this.missing(request.closure, image);
    const bytes = this.world.bytesOf(missing);
    const wire = this.wire(request, image, bytes);
    const learning = this.installs < learnAll || this.installs % 20 === 0;
    if (image !== undefined) {
      for (const host of request.hosts) for (const layer of image.layers) this.hosts[host]?.add(layer.id);
      policy.used?.(image);
    }
    if (learning && missing.length > 0) this.models = learn(this.models, { stage: 'distribute', bytes: wire, items: request.hosts.length, seconds: this.world.transferSeconds(wire, request.hosts.length) });
    if (missing.length > 0) {
      this.installs += 1;
      if (learning) this.learnInstall(missing, bytes, image?.packages.length ?? 0);
      this.hold(policy.built?.(this, this.image(request.closure)));
    }
    return wire;
  }

  private learnInstall(missing: readonly number[], bytes: number, installed: number): void {
    const { seconds, phases } = this.world.measureInstall(missing, installed);
    const work = { bytes, items: missing.length };
    this.models = learn(this.models, { stage: 'install', ...work, seconds, install: { phases, installed } });
    this.models = learn(this.models, { stage: 'download', ...work, seconds: this.world.downloadSeconds(bytes) });
    this.models = learn(this.models, { stage: 'pack', bytes, items: 1, seconds: this.world.packSeconds(bytes) });
  }

  private hold(images: readonly CacheImage[] | undefined): void {
    if (images === undefined) return;
    const kept = new Set(images.flatMap((image) => image.layers.map(({ id }) => id)));
    for (const host of this.hosts) for (const id of host) if (!kept.has(id)) host.delete(id);
    this.held = images;
    this.heldBytes = bytesOf(images);
  }
}

const mostClosures = 1e6;

function keyOf(closure: Closure, image: CacheImage | undefined): number {
  return ((image?.id ?? -1) + 1) * mostClosures + closure.id;
}
