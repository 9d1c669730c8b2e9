/** Policies of making and keeping images: those that people use, and ours. Each gets the same site and the same budget. */
import { popularPackages } from '../../src/domain/cache/popularity.js';
import { mostSaved, type Demand } from '../../src/domain/cache/saved-time.js';
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
 * Most predicted time saved over the last requests, within the budget. An image made for one closure is judged
 * without the request that it was thought of from: that it was asked once does not show that it will be again.
 */
export function greedy(book: ClosureBook, window = 800): Policy {
  return {
    name: 'greedy',
    idle(site, at) {
      if (at % makeEvery !== 0 && !early.includes(at)) return undefined;
      const plan = { requests: site.past.slice(-window), saves: (closure: Closure, image: CacheImage) => site.saves(closure, image), trust: trustInRepeats };
      return bestImages(site, book, plan);
    },
  };
}

/** The same rule, told the next requests instead of the last, and the true seconds instead of predicted ones. */
export function clairvoyant(book: ClosureBook, window = 800): Policy {
  return {
    name: 'clairvoyant',
    idle(site, at) {
      if (at % makeEvery !== 0) return undefined;
      const plan = { requests: site.trace.slice(at, at + window).map(({ closure }) => closure), saves: (closure: Closure, image: CacheImage) => site.trulySaves(closure, image), trust: () => 1 };
      return bestImages(site, book, plan);
    },
  };
}

const early = [10, 25, 50, 100];

interface Planning {
  readonly requests: readonly Closure[];
  saves(closure: Closure, image: CacheImage): number;
  trust(count: number): number;
}

/** The head's own proposals and judgement (domain/cache/proposals.ts), on simulated images. */
function bestImages(site: Site, book: ClosureBook, plan: Planning): readonly CacheImage[] {
  const counts = new Map<Closure, number>();
  for (const closure of plan.requests) counts.set(closure, (counts.get(closure) ?? 0) + 1);
  const asked = [...counts].sort((a, b) => b[1] - a[1]);
  const sizes = new Map<number, { seconds: number; bytes: number }>();
  const worthOf = (index: number): { seconds: number; bytes: number } => {
    const worth = sizes.get(index) ?? { seconds: site.secondsOf(index), bytes: (site.world.data.packages[index]?.[1] ?? 0) * layerPerDeb };
    sizes.set(index, worth);
    return worth;
  };
  const imageOf = ({ packages, core, of }: Proposal<number>): CacheImage => site.image(of === undefined ? book.of(packages) : (asked[of]?.[0] ?? book.of(packages)), core && imageOf(core));
  const images = new Map<Proposal<number>, CacheImage>();
  const known = (proposal: Proposal<number>): CacheImage => {
    const image = images.get(proposal) ?? imageOf(proposal);
    images.set(proposal, image);
    return image;
  };
  const by: Judging<number> = {
    saves: (closure, proposal) => plan.saves(asked[closure]?.[0] ?? book.of([]), known(proposal)),
    makesWhole: (closure, proposal) => asked[closure]?.[0].packages.every((index) => known(proposal).has[index] === 1) === true,
    trust: (count) => plan.trust(count),
  };
  const offers = propose(asked.map(([{ packages }, weight]) => ({ packages, weight })), worthOf, site.budget).filter((proposal) => bytesOf([known(proposal)]) <= site.budget);
  const demands = asked.map(([, weight], at): Demand => ({ weight, saves: new Map(offers.map((offer, i) => [i, savedBy(by, offer, at, weight)])) }));
  return mostSaved(offers.map(known), demands, site.budget).held.flatMap((i) => (offers[i] === undefined ? [] : [known(offers[i])]));
}
