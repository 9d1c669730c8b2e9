/**
 * How good the install models are, from measured installations: five folds; the models that speak about a set learned from the sets of the
 * other folds only, as a site would, one observation after the other. Pure: the same runs give the same figures.
 */
import { bestModel, installModels, learnInstall, predictInstall, type InstallModel, type InstallState } from '../../src/domain/estimate/install.js';
import { emptyLine, learnLine, medianOf, predictLine } from '../../src/domain/estimate/line.js';
import { noPackages, type PackageWork } from '../../src/domain/estimate/packages.js';
import { stagePriors } from '../../src/domain/estimate/priors.js';
import { layerPerDeb } from '../../src/domain/plan-site.js';
import type { Below, InstallRun } from './install-runs.js';

const folds = 5;
const seed = 1;
const MiB = 1024 * 1024;
/** What the cache image of the experiment has to be sent beyond the base: as if no host had it. */
const cacheBytes = 50 * MiB;
/** Of a 1 Gbit/s network, for the bytes that one image has more than the other. */
const bytesPerSecond = 110 * MiB;

export type Said = Readonly<Record<InstallModel, number>>;

/** One set on one image: what was measured, and what models said that had never seen the set. */
export interface Outcome {
  readonly set: string;
  readonly below: Below;
  readonly packages: number;
  /** Packages that no set of the training had. */
  readonly unseen: number;
  /** Median of the repeats, and the largest deviation of one from it, relative. */
  readonly measured: number;
  readonly repeat: number;
  readonly said: Said;
  /** By the model that the site would go by. */
  readonly chosen: number;
  /** Seconds from the request to the packed image, and bytes of image that hosts lack: measured, and as said. */
  readonly ready: { readonly measured: number; readonly said: number };
}

/** Starts without what gridvc ships about single packages: that was measured with these very sets. */
const nothingKnown: InstallState = { M0: emptyLine, M1: emptyLine, packages: noPackages, overhead: { M2: emptyLine, M3: emptyLine }, record: { M0: [], M1: [], M2: [], M3: [] } };

export function judgeFolds(all: readonly InstallRun[]): readonly Outcome[] {
  const runs = all.filter((run) => run.below !== 'scratch');
  const bases = all.filter((run) => run.below === 'scratch').map((run) => run.seconds + run.pack);
  const sets = shuffled([...new Set(runs.map((run) => run.set))], seed);
  return sets.flatMap((_, n) => (n < folds ? [n] : [])).flatMap((fold) => {
    const held = new Set(sets.filter((_, i) => i % folds === fold));
    const training = shuffled(runs.filter((run) => !held.has(run.set)), seed + fold);
    const state = training.reduce((before, run) => learnInstall(before, observationOf(run)), nothingKnown);
    const packing = training.reduce((line, run) => learnLine(line, [1, run.layer / MiB, 0], run.pack), emptyLine);
    const seen = new Set(training.flatMap((run) => run.phases.map((row) => row.package)));
    const outcomes = [...held].flatMap((set) => (['base', 'cache'] as const).flatMap((below): Outcome[] => {
      const repeats = runs.filter((run) => run.set === set && run.below === below);
      const [first] = repeats;
      if (first === undefined) return [];
      const packages = packagesOf(first);
      const work = { packages, installed: first.installed };
      const said = Object.fromEntries(installModels.map((model) => [model, predictInstall(state, model, work).seconds])) as Record<InstallModel, number>;
      const measured = medianOf(repeats.map((run) => run.seconds));
      const extra = below === 'cache' ? cacheBytes / bytesPerSecond : 0;
      const bytes = packages.reduce((sum, entry) => sum + entry.debBytes, 0) * layerPerDeb;
      const chosen = said[bestModel(state)];
      return [{
        set, below, packages: packages.length, unseen: packages.filter((entry) => !seen.has(entry.name)).length,
        measured, repeat: Math.max(...repeats.map((run) => Math.abs(run.seconds / measured - 1))), said, chosen,
        ready: {
          measured: measured + medianOf(repeats.map((run) => run.pack + run.layer / bytesPerSecond)) + extra,
          said: chosen + predictLine(stagePriors.pack, packing, [1, bytes / MiB, 0]).seconds + bytes / bytesPerSecond + extra,
        },
      }];
    }));
    return [...outcomes, ...fromScratch(outcomes, bases, fold)];
  });
}

/** The same sets where there is no base either: what its making took is said from the other times that one was made. */
function fromScratch(outcomes: readonly Outcome[], bases: readonly number[], fold: number): Outcome[] {
  const own = bases[fold % bases.length];
  if (own === undefined || bases.length < 2) return [];
  const others = bases.filter((_, i) => i !== fold % bases.length).reduce((line, seconds) => learnLine(line, [1, 0, 0], seconds), emptyLine);
  const base = predictLine(stagePriors.base, others, [1, 0, 0]).seconds;
  return outcomes.filter((outcome) => outcome.below === 'base').map((outcome) => ({
    ...outcome, below: 'scratch', measured: outcome.measured + own, chosen: outcome.chosen + base,
    said: Object.fromEntries(installModels.map((model) => [model, outcome.said[model] + base])) as Record<InstallModel, number>,
    ready: { measured: outcome.ready.measured + own, said: outcome.ready.said + base },
  }));
}

export interface ErrorFigures {
  readonly mean: number;
  readonly p90: number;
  readonly worst: number;
  readonly bias: number;
}

/** Relative errors of what was said against what was measured. */
export function errorsOf<T extends { readonly measured: number }>(outcomes: readonly T[], said: (outcome: T) => number): ErrorFigures {
  const errors = outcomes.map((outcome) => (said(outcome) - outcome.measured) / outcome.measured);
  const sizes = errors.map(Math.abs).sort((a, b) => a - b);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean: mean(sizes), p90: sizes[Math.ceil(0.9 * sizes.length) - 1] ?? 0, worst: sizes.at(-1) ?? 0, bias: mean(errors) };
}

/** For each set with several images: how much longer the image chosen by what was said really takes than the best, as a share of the best's time. */
export function regrets(outcomes: readonly Outcome[]): readonly { set: string; regret: number; right: boolean }[] {
  return [...new Set(outcomes.map((outcome) => outcome.set))].flatMap((set) => {
    const ways = outcomes.filter((outcome) => outcome.set === set);
    if (ways.length < 2) return [];
    const least = Math.min(...ways.map((way) => way.ready.measured));
    const [chosen] = [...ways].sort((a, b) => a.ready.said - b.ready.said);
    const regret = ((chosen?.ready.measured ?? least) - least) / least;
    return [{ set, regret, right: regret === 0 }];
  });
}

function observationOf(run: InstallRun): Parameters<typeof learnInstall>[1] {
  const packages = packagesOf(run);
  return { bytes: packages.reduce((sum, entry) => sum + entry.debBytes, 0), items: packages.length, installed: run.installed, seconds: run.seconds, phases: run.phases };
}

function packagesOf(run: InstallRun): PackageWork[] {
  return [...new Map(run.phases.filter((row) => row.version !== '').map((row) => [row.package, { name: row.package, debBytes: row.bytes }])).values()];
}

/** Fisher and Yates over a small linear congruential generator: the same order for the same seed. */
export function shuffled<T>(items: readonly T[], from: number): T[] {
  const result = [...items];
  let state = from;
  for (let i = result.length - 1; i > 0; i--) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    const j = Math.floor((state / 2_147_483_648) * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}
