/** Which images the maker wants now: the paper's rule, or the images that would have saved most predicted time within the budget. */
import { isUsable } from '../domain/cache/image-choice.js';
import { allNeeds } from '../domain/cache/needs.js';
import { popularPackages } from '../domain/cache/popularity.js';
import { propose, savedBy, trustInRepeats, type Judging, type Proposal } from '../domain/cache/proposals.js';
import { mostSaved, type Demand, type Offer } from '../domain/cache/saved-time.js';
import { valuesOf } from '../domain/cache/value.js';
import { predict, type SiteModels } from '../domain/estimate/site.js';
import type { ResolvedPackage } from '../domain/image.js';
import type { CacheConfig } from './config.js';
import { addingSeconds, demandsOn, packageWorth, type AskedOften } from './demand.js';
import type { StockedImage } from './stocked-image.js';

/** An image of more layers is not added to. */
export const mostLayers = 5;

/** An image to be made: these packages, above the base or above another one that is wanted. */
export interface Wanted {
  readonly packages: readonly ResolvedPackage[];
  readonly core?: Wanted;
  /** Predicted seconds that it would have saved over the remembered requests. */
  readonly value: number;
}

export interface Weighing {
  readonly cache: CacheConfig;
  readonly asked: readonly AskedOften[];
  /** Fresh ones, over the base that counts. */
  readonly images: readonly StockedImage[];
  readonly models: SiteModels;
  /** How many compute hosts will have to get a new layer. */
  readonly hosts: number;
  /** What each package depends on directly, as far as it is known. */
  readonly needs: ReadonlyMap<string, readonly string[]>;
  readonly signal: AbortSignal;
}

/** What is worth making, most worth first, cores before what stands on them. */
export async function wantedImages(of: Weighing): Promise<readonly Wanted[]> {
  switch (of.cache.rule) {
    case 'none':
      return [];
    case 'popular':
      return popular(of);
    case 'saved-time':
      return saved(of);
  }
}

function popular({ cache, asked, images }: Weighing): readonly Wanted[] {
  const packages = packagesOf(asked);
  const history = asked.flatMap(({ resolution, weight }) => Array.from({ length: weight }, () => resolution.packages.map(({ name }) => name)));
  const names = popularPackages(history, { requests: history.length, percent: cache.percent });
  if (names.length === 0 || images.some((image) => names.every((name) => image.packages.has(name)))) return [];
  return [{ packages: names.flatMap((name) => packages.get(name) ?? []), value: 0 }];
}

async function saved(of: Weighing): Promise<readonly Wanted[]> {
  const { asked, images, models, cache } = of;
  const packages = packagesOf(asked);
  const budget = cache.megabytes * 1e6;
  const needs = allNeeds((name: string) => of.needs.get(name) ?? []);
  const worth = memo((name: string) => ({ ...packageWorth(models, packages.get(name) ?? { name, version: '', architecture: '', debBytes: 0 }), ...(of.needs.has(name) ? { needs: needs(name) } : {}) }));
  const whole = ({ packages: all }: AskedOften['resolution']): number => Math.max(0, addingSeconds(models, all, nothing) - all.reduce((sum, { name }) => sum + worth(name).seconds, 0));
  const grounds = images.filter(({ kind, layers }) => kind !== 'debs' && layers.length < mostLayers);
  const question = asked.map(({ resolution, weight }) => ({ packages: resolution.packages.map(({ name }) => name), weight, whole: whole(resolution) }));
  const proposals = propose({ asked: question, worthOf: worth, budget, grounds: grounds.map((image) => ({ packages: [...image.packages.keys()], bytes: ownBytes(image) })) })
    .filter((proposal) => !images.some((image) => allOf(proposal).every((name) => image.packages.has(name)) && image.packages.size === allOf(proposal).length));
  const by = judging(of);
  const saves = (image: number, closure: number): number => {
    const held = images[image];
    if (held !== undefined) return savedByImage(of, held, closure);
    const proposal = proposals[image - images.length];
    return proposal === undefined ? 0 : savedBy(by, proposal, closure, asked[closure]?.weight ?? 0);
  };
  const ids = new Map<Proposal<string>, number>(proposals.map((proposal, i) => [proposal, -1 - i]));
  const layersOffered = (one: Proposal<string>): Offer['layers'] => {
    const ground = one.held === undefined ? undefined : grounds[one.held];
    if (ground !== undefined) return offerOf(ground).layers;
    const bytes = one.packages.reduce((sum, name) => sum + worth(name).bytes, 0);
    return [{ id: ids.get(one) ?? 0, bytes, cost: bringSeconds(models, bytes, of.hosts) }];
  };
  const offers: Offer[] = [...images.map((image) => offerOf(image)), ...proposals.map((proposal): Offer => ({ layers: layersOf(proposal).flatMap(layersOffered) }))];
  const demands = await demandsOn(asked, offers.length, saves, of.signal);
  const held = mostSaved(offers, demands, budget).held;
  const values = valuesOf(offers.length, demands.map((demand): Demand => ({ ...demand, saves: new Map([...demand.saves].filter(([image]) => held.includes(image))) })));
  return held.flatMap((at) => {
    const proposal = proposals[at - images.length];
    const value = values[at] ?? 0;
    return proposal === undefined || value < cache.leastSeconds ? [] : [wantedOf(proposal, packages, value)];
  });
}

function wantedOf(proposal: Proposal<string>, packages: ReadonlyMap<string, ResolvedPackage>, value: number): Wanted {
  return { packages: proposal.packages.flatMap((name) => packages.get(name) ?? []), value, ...(proposal.core === undefined ? {} : { core: wantedOf(proposal.core, packages, value) }) };
}

/** An image in the stock as an offer: a layer has the same id in every image that stands on it. */
export function offerOf(image: StockedImage): Offer {
  return { layers: image.layers.slice(1).map(({ digest, bytes }) => ({ id: Number.parseInt(digest.slice(0, 12), 16), bytes })) };
}

/** Predicted seconds that an image in the stock saves a closure. */
export function savedByImage({ asked, models }: Pick<Weighing, 'asked' | 'models'>, image: StockedImage, closure: number): number {
  const packages = asked[closure]?.resolution.packages ?? [];
  if (image.kind === 'debs' || !isUsable(image.packages, packages, false)) return 0;
  return addingSeconds(models, packages, nothing) - addingSeconds(models, packages, image.packages);
}

/** Predicted seconds that requests wait, all together, until every host has a new layer of so many bytes. */
function bringSeconds(models: SiteModels, bytes: number, hosts: number): number {
  const of = (size: number): number => predict(models, { stage: 'distribute', bytes: size, items: hosts }).seconds;
  return of(bytes * hosts) - of(0);
}

function ownBytes(image: StockedImage): number {
  return image.layers.slice(1).reduce((sum, { bytes }) => sum + bytes, 0);
}

const nothing = { has: () => false, size: 0 };

function judging({ asked, models }: Weighing): Judging<string> {
  const full = memo((closure: number) => addingSeconds(models, asked[closure]?.resolution.packages ?? [], nothing));
  const sets = memo((proposal: Proposal<string>) => new Set(allOf(proposal)));
  const alone = memo((proposal: Proposal<string>) => memo((closure: number) => full(closure) - addingSeconds(models, asked[closure]?.resolution.packages ?? [], sets(proposal))));
  return {
    saves: (closure, proposal) => alone(proposal)(closure),
    makesWhole: (closure, proposal) => asked[closure]?.resolution.packages.every(({ name }) => sets(proposal).has(name)) === true,
    trust: trustInRepeats,
  };
}

function allOf(proposal: Proposal<string>): readonly string[] {
  return layersOf(proposal).flatMap(({ packages }) => packages);
}

/** Lowest first. */
function layersOf(proposal: Proposal<string>): readonly Proposal<string>[] {
  return [...(proposal.core === undefined ? [] : layersOf(proposal.core)), proposal];
}

function packagesOf(asked: readonly AskedOften[]): ReadonlyMap<string, ResolvedPackage> {
  return new Map(asked.flatMap(({ resolution }) => resolution.packages.map((entry) => [entry.name, entry] as const)));
}

function memo<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key) as V;
  };
}
