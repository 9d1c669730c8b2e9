/** Policies of making and keeping images: those that people use, and ours. Each gets the same site and the same budget. */
import { popularPackages } from '../../src/domain/cache/popularity.js';
import { mostSaved, type Demand } from '../../src/domain/cache/saved-time.js';
import type { CacheImage, Policy, Site } from './site.js';
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
  let size = order.reduce((sum, image) => sum + image.bytes, 0);
  const kept = [...order];
  while (size > budget && kept.length > 0) size -= kept.shift()?.bytes ?? 0;
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
      if (at === 0 || (at % makeEvery !== 0 && at !== 10)) return undefined;
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

function bestImages(site: Site, book: ClosureBook, requests: readonly Closure[], saves: (closure: Closure, image: CacheImage) => number): readonly CacheImage[] {
  const counts = new Map<Closure, number>();
  for (const closure of requests) counts.set(closure, (counts.get(closure) ?? 0) + 1);
  const offers = offersFor(site, book, counts, requests);
  const demands = [...counts].map(([closure, weight]): Demand => ({ weight, saves: new Map(offers.map((image, i) => [i, saves(closure, image)])) }));
  return mostSaved(offers, demands, site.budget).held.flatMap((i) => offers[i] ?? []);
}

const mostClosures = 60;
const percents = [60, 40, 30, 20, 15, 10, 7, 5, 3, 2, 1];

/** Images worth thinking of: closures asked often, what popular packages make together, and growing unions of the two; those held already. */
function offersFor(site: Site, book: ClosureBook, counts: ReadonlyMap<Closure, number>, requests: readonly Closure[]): readonly CacheImage[] {
  const frequent = [...counts].sort((a, b) => b[1] - a[1]).slice(0, mostClosures).map(([closure]) => closure);
  const popular = percents.map((percent) => popularPackages(requests.map(({ packages }) => packages), { requests: requests.length, percent }));
  const unions: number[][] = [];
  let growing: number[] = [];
  for (const closure of frequent.slice(0, 24)) unions.push((growing = [...new Set([...growing, ...closure.packages])]));
  for (const closure of frequent.slice(0, 12)) for (const other of frequent.slice(0, 12)) unions.push([...closure.packages, ...other.packages]);
  const all = [...frequent.map(({ packages }) => packages), ...popular, ...unions].filter((packages) => packages.length > 0).map((packages) => site.image(book.of(packages)));
  return [...new Set([...site.held, ...all])].filter((image) => image.bytes <= site.budget);
}
