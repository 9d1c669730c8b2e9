/** Policies of making and keeping images: those that people use, and ours. Each gets the same site and the same budget. */
import { popularPackages } from '../../src/domain/cache/popularity.js';
import { mostSaved, type Demand } from '../../src/domain/cache/saved-time.js';
import { growImages } from '../../src/domain/cache/dense-image.js';
import { bytesOf, type CacheImage, type Policy, type Site } from './site.js';
import { layerPerDeb } from './world.js';
import type { Closure, ClosureBook } from './trace.js';

const makeEvery = 50; // requests between two times of making images

/** Nothing is kept: every request installs all it needs over the base. */
export const none: Policy = { name: 'none' };

/** The paper: one image of the packages in at least `percent` % of the last 100 requests. */
export function paper(book: ClosureBook, percent: number): Policy {
  return {
    name: `paper M=${percent}`,
    idle(site, at) {
      if (at === 0 || at % makeEvery !== 0) return undefined;
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

/** Most predicted time saved over the last requests, within the budget. */
export function greedy(book: ClosureBook, window = 400): Policy {
  return {
    name: 'greedy',
    idle(site, at) {
      if (at === 0 || at % makeEvery !== 0) return undefined;
      return bestImages(site, book, site.past.slice(-window), (closure, image) => site.saves(closure, image));
    },
  };
}

/** The same rule, told the next requests instead of the last, and the true seconds instead of predicted ones. */
export function clairvoyant(book: ClosureBook, window = 400): Policy {
  return {
    name: 'clairvoyant',
    idle(site, at) {
      if (at % makeEvery !== 0) return undefined;
      return bestImages(site, book, site.trace.slice(at, at + window).map(({ closure }) => closure), (closure, image) => site.trulySaves(closure, image));
    },
  };
}

const mostDemands = 250;
const mostClosures = 40;
const coreSizes = [0.2, 0.4, 0.6, 0.8, 1];

function bestImages(site: Site, book: ClosureBook, requests: readonly Closure[], saves: (closure: Closure, image: CacheImage) => number): readonly CacheImage[] {
  const counts = new Map<Closure, number>();
  for (const closure of requests) counts.set(closure, (counts.get(closure) ?? 0) + 1);
  const frequent = [...counts].sort((a, b) => b[1] - a[1]).slice(0, mostDemands);
  const offers = offersFor(site, book, frequent);
  const demands = frequent.map(([closure, weight]): Demand => ({ weight, saves: new Map(offers.map((image, i) => [i, saves(closure, image)])) }));
  return mostSaved(offers, demands, site.budget).held.flatMap((i) => offers[i] ?? []);
}

/** Images worth thinking of: cores of several sizes, closures asked often, alone and as a layer over each core; those held already. */
function offersFor(site: Site, book: ClosureBook, frequent: readonly (readonly [Closure, number])[]): readonly CacheImage[] {
  const sizes = new Map<number, { seconds: number; bytes: number }>();
  const worthOf = (index: number): { seconds: number; bytes: number } => {
    const worth = sizes.get(index) ?? { seconds: site.secondsOf(index), bytes: (site.world.data.packages[index]?.[1] ?? 0) * layerPerDeb };
    sizes.set(index, worth);
    return worth;
  };
  const grown = growImages(frequent.map(([{ packages }, weight]) => ({ packages, weight })), worthOf, site.budget);
  const cores = coreSizes.flatMap((share) => grown.findLast(({ bytes }) => bytes <= share * site.budget) ?? []).map(({ packages }) => site.image(book.of(packages)));
  const often = frequent.slice(0, mostClosures).map(([closure]) => closure);
  const layered = cores.flatMap((core) => often.filter(({ packages }) => packages.some((index) => core.has[index] === 0)).map((closure) => site.image(closure, core)));
  return [...new Set([...site.held, ...cores, ...often.map((closure) => site.image(closure)), ...layered])].filter((image) => bytesOf([image]) <= site.budget);
}
