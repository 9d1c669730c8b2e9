/**
 * Images worth making, thought of from what was asked: cores of several sizes, grown by saved time; packages asked often, as
 * the paper takes them; one more layer over each image that is held; closures asked often, alone and as one more layer over each
 * core. Which of them are worth their bytes and their way to the hosts says saved-time.ts. The head and the simulator share this. Pure.
 */
import { growImages, type Asked, type Worth } from './dense-image.js';

/** A distinct closure; its weight is how often it is expected, in any unit. */
export type AskedClosure<P> = Asked<P>;

export interface Proposal<P> {
  /** All packages of its own layer; of a held image, all above the base. */
  readonly packages: readonly P[];
  /** What it adds its layer to. */
  readonly core?: Proposal<P>;
  /** The closure that it was made for, by its place in what was asked. */
  readonly of?: number;
  /** It is there already: its place among the `grounds`. */
  readonly held?: number;
}

export interface Question<P> {
  /** Most expected first. */
  readonly asked: readonly AskedClosure<P>[];
  readonly worthOf: (name: P) => Worth<P>;
  /** Bytes of all layers above the bases. */
  readonly budget: number;
  /** Held images that may get one more layer. */
  readonly grounds?: readonly { readonly packages: readonly P[]; readonly bytes: number }[];
}

const mostClosures = 20;
const mostGrounds = 4;
const coreSizes = [0.25, 0.5, 0.75, 1];
const shares = [0.5, 0.2, 0.05];

export function propose<P extends string | number>({ asked, worthOf, budget, grounds = [] }: Question<P>): readonly Proposal<P>[] {
  const grown = growImages(asked, worthOf, budget);
  const cores = [...new Set(coreSizes.flatMap((share) => grown.findLast(({ bytes }) => bytes <= share * budget) ?? []))].map(({ packages }): Proposal<P> => ({ packages }));
  const held = grounds.slice(0, mostGrounds).map(({ packages }, at): Proposal<P> => ({ packages, held: at }));
  const further = held.flatMap((core, at) => furtherLayer(asked, worthOf, core, budget - (grounds[at]?.bytes ?? 0)));
  const often = asked.slice(0, mostClosures);
  const single = often.map(({ packages }, of): Proposal<P> => ({ packages, of }));
  const layered = [...cores, ...held].flatMap((core) => {
    const has = new Set(core.packages);
    return often.flatMap(({ packages }, of): Proposal<P>[] => {
      const own = packages.filter((name) => !has.has(name));
      return own.length > 0 ? [{ packages: own, core, of }] : [];
    });
  });
  const popular = shares.map((share) => askedOften(asked, share)).filter((names) => names.length > 0);
  return [...cores, ...popular.map((packages): Proposal<P> => ({ packages })), ...further, ...single, ...layered];
}

/** What most of what the held image lacks is worth having, as one more layer over it. */
function furtherLayer<P>(asked: readonly AskedClosure<P>[], worthOf: (name: P) => Worth<P>, core: Proposal<P>, budget: number): readonly Proposal<P>[] {
  const has = new Set(core.packages);
  const rest = asked.map((each) => ({ ...each, packages: each.packages.filter((name) => !has.has(name)) })).filter(({ packages }) => packages.length > 0);
  const last = growImages(rest, worthOf, budget).at(-1);
  return last === undefined ? [] : [{ packages: last.packages, core }];
}

/** Packages in at least such a share of the requests. */
function askedOften<P>(asked: readonly AskedClosure<P>[], share: number): readonly P[] {
  const weights = new Map<P, number>();
  let total = 0;
  for (const { packages, weight } of asked) {
    total += weight;
    for (const name of packages) weights.set(name, (weights.get(name) ?? 0) + weight);
  }
  return [...weights].filter(([, weight]) => weight >= share * total).map(([name]) => name);
}

export interface Judging<P> {
  /** Predicted seconds that an image of these proposals' layers saves a closure against the base. */
  saves(closure: number, proposal: Proposal<P>): number;
  /** True if the proposal's packages, with its core's, are all that the closure needs. */
  makesWhole(closure: number, proposal: Proposal<P>): boolean;
  /** Share of a closure's saving to believe in, for an image made for that closure alone, by how often it was asked. */
  trust(count: number): number;
}

/**
 * Seconds that a proposal saves one closure. A layer made for one closure counts beyond its core only for closures that it makes
 * whole: nearly all of its saving, and quick to tell.
 */
export function savedBy<P>(by: Judging<P>, proposal: Proposal<P>, closure: number, weight: number): number {
  if (proposal.core !== undefined && proposal.of !== undefined && !by.makesWhole(closure, proposal)) return by.saves(closure, proposal.core);
  return by.saves(closure, proposal) * (proposal.of === closure ? by.trust(weight) : 1);
}

/** That a closure was asked once does not show that it will be asked again. */
export function trustInRepeats(count: number): number {
  return Math.max(0, count - 1) / count;
}
