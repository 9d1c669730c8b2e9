/**
 * Images worth making, thought of from what was asked: cores of several sizes, grown by saved time; the paper's popular
 * packages; closures asked often, alone and as one more layer over each core. Which of them are worth their bytes says
 * saved-time.ts. The head and the simulator share this. Pure.
 */
import { growImages } from './dense-image.js';
import { popularPackages } from './popularity.js';

export interface AskedClosure<P> {
  readonly packages: readonly P[];
  /** How often it was asked. */
  readonly weight: number;
}

export interface Proposal<P> {
  /** All packages of its own layer. */
  readonly packages: readonly P[];
  /** The proposal that it adds its layer to. */
  readonly core?: Proposal<P>;
  /** The closure that it was made for, by its place in what was asked. */
  readonly of?: number;
}

const mostClosures = 40;
const coreSizes = [0.25, 0.5, 0.75, 1];
const percents = [50, 20, 5];

/**
 * @param asked distinct closures, most often asked first
 * @param worthOf seconds that a package takes, and bytes that it adds to a layer
 * @param budget bytes
 */
export function propose<P extends string | number>(asked: readonly AskedClosure<P>[], worthOf: (name: P) => { seconds: number; bytes: number }, budget: number): readonly Proposal<P>[] {
  const grown = growImages(asked, worthOf, budget);
  const cores = [...new Set(coreSizes.flatMap((share) => grown.findLast(({ bytes }) => bytes <= share * budget) ?? []))].map(({ packages }): Proposal<P> => ({ packages }));
  const often = asked.slice(0, mostClosures);
  const single = often.map(({ packages }, of): Proposal<P> => ({ packages, of }));
  const layered = cores.flatMap((core) => {
    const has = new Set(core.packages);
    return often.flatMap(({ packages }, of): Proposal<P>[] => {
      const own = packages.filter((name) => !has.has(name));
      return own.length > 0 ? [{ packages: own, core, of }] : [];
    });
  });
  const all = asked.flatMap(({ packages, weight }) => Array.from({ length: weight }, () => packages));
  const popular = percents.map((percent) => popularPackages(all, { requests: all.length, percent })).filter((names) => names.length > 0);
  return [...cores, ...popular.map((packages): Proposal<P> => ({ packages })), ...single, ...layered];
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
 * Seconds that a proposal saves one closure. A layer over a core counts only for closures that it makes whole: nearly
 * all of its saving, and quick to tell.
 */
export function savedBy<P>(by: Judging<P>, proposal: Proposal<P>, closure: number, weight: number): number {
  if (proposal.core !== undefined && !by.makesWhole(closure, proposal)) return by.saves(closure, proposal.core);
  return by.saves(closure, proposal) * (proposal.of === closure ? by.trust(weight) : 1);
}

/** That a closure was asked once does not show that it will be asked again. */
export function trustInRepeats(count: number): number {
  return (count - 1) / count;
}
