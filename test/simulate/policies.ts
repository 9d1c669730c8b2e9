/** Policies of making and keeping images: those that people use, and ours. Each gets the same site and the same budget. */
import { popularPackages } from '../../src/domain/cache/popularity.js';
import { mostSaved, type Demand } from '../../src/domain/cache/saved-time.js';
import type { Worth } from '../../src/domain/cache/dense-image.js';
import { propose, savedBy, trustInRepeats, type Judging, type Proposal } from '../../src/domain/cache/proposals.js';
import { bytesOf, type CacheImage, type Policy, type Site } from './site.js';
import { layerPerDeb } from './world.js';
import type { Closure, ClosureBook } from './trace.js';

const makeEvery = 200; // requests between two times of making images

/** Nothing is kept: every request installs all it needs over the base. */
export const none: Policy = { name: 'none' };

/** The paper: one image of the packages in at least `percent` % of the last 100 requests. */
export function paper(book: ClosureBook, percent: number): Policy {
  return {
    name: `paper M=${percent}`,
    idle(site, at) {
      if (at % makeEvery !== 0 && !early.includes(at)) return undefined;
      const packages = popularPackages(site.past.slice(-100).map(({ packages: all }) => all), { requests: 100, percent });
      return packages.length === 0 ? [] : [site.image(book.of(packages))];
    },
  };
}

/** Each built closure is kept; beyond the budget the one longest unused goes. */
export function leastRecentlyUsed(): Policy {
  let order: CacheImage[] = [];
  return {
    name: 'LRU',
    used: (image) => void (order = [...order.filter((other) => other !== image), image]),
    built: (site, image) => (order = within(site.budget, [...order.filter((other) => other !== image), image])),
  };
}

/** Landlord (Shaffer et al. 2020): a request is merged into the nearest image if they differ little enough (Jaccard distance), else kept by itself. */
export function landlord(book: ClosureBook, nearness = 0.8): Policy {
  let order: CacheImage[] = [];
  return {
    name: `Landlord ${nearness}`,
    used: (image) => void (order = [...order.filter((other) => other !== image), image]),
    built(site, image) {
      const [near] = order.map((other) => ({ other, distance: jaccard(image, other) })).sort((a, b) => a.distance - b.distance);
      const merged = near !== undefined && near.distance <= nearness ? site.image(book.of([...near.other.packages, ...image.packages])) : image;
      order = within(site.budget, [...order.filter((other) => other !== near?.other || merged === image), merged].filter((other, i, all) => all.indexOf(other) === i));
      return order;
    },
  };
}

function within(budget: number, order: CacheImage[]): CacheImage[] {
  const kept = [...order];
  while (kept.length > 0 && bytesOf(kept) > budget) kept.shift();
  return kept;
}

function jaccard(a: CacheImage, b: CacheImage): number {
  const common = a.packages.reduce((sum, index) => sum + (b.has[index] ?? 0), 0);
  return 1 - common / (a.packages.length + b.packages.length - common);
}

/**
 * Most predicted time saved over past requests, the older ones counting less, within the budget. An image made for one
 * closure is judged without the request that it was thought of from: that it was asked once does not show that it will be again.
 */
export function greedy(book: ClosureBook, halfLife = 3000): Policy {
  return {
    name: 'greedy',
    idle(site, at) {
      if (!isTime(at)) return undefined;
      const asked = new Map<Closure, number>();
      site.past.forEach((closure, i) => asked.set(closure, (asked.get(closure) ?? 0) + 0.5 ** ((at - i) / halfLife)));
      return bestImages(site, book, { asked, saves: (closure, image) => site.saves(closure, image), trust: trustInRepeats });
    },
  };
}

/** The same rule, told the next requests instead of the last, and the true seconds instead of predicted ones. */
export function clairvoyant(book: ClosureBook, window = 800): Policy {
  return {
    name: 'clairvoyant',
    idle(site, at) {
      if (!isTime(at)) return undefined;
      const asked = new Map<Closure, number>();
      for (const { closure } of site.trace.slice(at, at + window)) asked.set(closure, (asked.get(closure) ?? 0) + 1);
      return bestImages(site, book, { asked, saves: (closure, image) => site.trulySaves(closure, image), trust: () => 1 });
    },
  };
}

const early = [10, 25, 50, 100];
const settled = 2000; // requests; then half as often does
const isTime = (at: number): boolean => at % (at < settled ? makeEvery : 2 * makeEvery) === 0 || early.includes(at);
const horizon = 800; // requests that a layer is hoped to serve

interface Planning {
  /** How often each closure is expected, in any unit. */
  readonly asked: ReadonlyMap<Closure, number>;
  saves(closure: Closure, image: CacheImage): number;
  /** Share of a closure's saving to believe in, for an image made for that closure alone, by how often it was asked. */
  trust(count: number): number;
}

/** The head's own proposals and judgement (domain/cache/proposals.ts), on simulated images. */
function bestImages(site: Site, book: ClosureBook, plan: Planning): readonly CacheImage[] {
  const often = [...plan.asked].sort((a, b) => b[1] - a[1]);
  const asked = often.map(([closure, weight]) => ({ packages: closure.packages, weight, whole: site.wholeSeconds(closure) }));
  const grounds = [...new Set(site.held.flatMap((image) => [image, ...(image.parent === undefined ? [] : [image.parent])]))].filter(({ layers }) => layers.length < mostLayers);
  const imageOf = memo(({ packages, core, of, held }: Proposal<number>): CacheImage => {
    const ground = held === undefined ? undefined : grounds[held];
    if (ground !== undefined) return ground;
    const below = core && imageOf(core);
    return site.image(of === undefined ? book.of([...(below?.packages ?? []), ...packages]) : (often[of]?.[0] ?? book.of(packages)), below);
  });
  const by: Judging<number> = {
    saves: (closure, proposal) => plan.saves(often[closure]?.[0] ?? book.of([]), imageOf(proposal)),
    makesWhole: (closure, proposal) => often[closure]?.[0].packages.every((index) => imageOf(proposal).has[index] === 1) === true,
    trust: (count) => plan.trust(count),
  };
  const worthOf = memo((index: number): Worth<number> => ({ seconds: site.secondsOf(index), bytes: (site.world.data.packages[index]?.[1] ?? 0) * layerPerDeb, needs: book.needs(index) }));
  const proposals = propose({ asked, worthOf, budget: site.budget, grounds: grounds.map((image) => ({ packages: image.packages, bytes: bytesOf([image]) })) });
  const held = site.held.map((image) => ({ image, saves: (closure: number) => plan.saves(often[closure]?.[0] ?? book.of([]), image) }));
  const thought = proposals.map((proposal) => ({ image: imageOf(proposal), saves: (closure: number) => savedBy(by, proposal, closure, often[closure]?.[1] ?? 0) }));
  const offers = [...held, ...thought].filter(({ image }) => bytesOf([image]) <= site.budget);
  const unit = horizon / often.reduce((sum, [, weight]) => sum + weight, 0);
  const demands = often.slice(0, mostDemands).map(([, weight], at): Demand => ({ weight: weight * unit, saves: new Map(offers.map(({ saves }, i) => [i, saves(at)])) }));
  const there = new Set(site.held.flatMap(({ layers }) => layers.map(({ id }) => id)));
  const priced = offers.map(({ image }) => ({ layers: image.layers.map(({ id, bytes }) => ({ id, bytes, cost: there.has(id) ? 0 : site.bringSeconds(bytes) })) }));
  return mostSaved(priced, demands, site.budget).held.flatMap((i) => offers[i]?.image ?? []);
}

const mostDemands = 400; // the often asked ones decide; the rest counts by its packages only
const mostLayers = 4; // above the base

function memo<K, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    if (!known.has(key)) known.set(key, compute(key));
    return known.get(key) as V;
  };
}
