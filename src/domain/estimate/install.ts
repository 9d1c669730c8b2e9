/**
 * Four models of the time that apt and dpkg take to install a closure. Each predicts seconds with a
 * 90 % interval; all learn from the same observation, after having predicted it, so that each has an
 * honest record on this site and the best one can be taken.
 *
 *   M0  the paper's: a line in the total .deb size
 *   M1  a line in bytes, packages and files
 *   M2  unpacking as a line of the closure, configuring as learned of each package; those never seen by their kind
 *   M3  M2, with each trigger once per transaction, scaled by the size of the image
 */
import type { PackageTiming } from '../image.js';
import { emptyLine, isPlausible, learnLine, medianOf, predictLine, robustSpread, withInterval, type Estimate, type LineState } from './line.js';
import { configureSeconds, filesOf, learnPackages, noPackages, ownTriggerSeconds, triggerSeconds, unpackSeconds, type PackagesState, type PackageWork } from './packages.js';
import { installPriors, modelSpread } from './priors.js';

export const installModels = ['M0', 'M1', 'M2', 'M3'] as const;
export type InstallModel = (typeof installModels)[number];

export interface InstallWork {
  readonly packages: readonly PackageWork[];
  /** Packages that the image holds already, above its base. */
  readonly installed: number;
}

export interface InstallObservation {
  /** Bytes of all .debs, and how many. */
  readonly bytes: number;
  readonly items: number;
  readonly installed: number;
  /** The whole stage. */
  readonly seconds: number;
  /** Its packages' phases; may be empty if they were not kept. */
  readonly phases: readonly PackageTiming[];
}

export interface InstallState {
  readonly M0: LineState;
  readonly M1: LineState;
  readonly packages: PackagesState;
  /** The stage's seconds that are in no phase: M2 does not see the triggers of the base's packages, M3 does. */
  readonly overhead: { readonly M2: LineState; readonly M3: LineState };
  /** Relative errors of past predictions, made before the observation was learned; oldest first. */
  readonly record: Readonly<Record<InstallModel, readonly number[]>>;
}

export const coldInstall: InstallState = { M0: emptyLine, M1: emptyLine, packages: { ...noPackages, shipped: true }, overhead: { M2: emptyLine, M3: emptyLine }, record: { M0: [], M1: [], M2: [], M3: [] } };

const MiB = 1024 * 1024;
const kept = 20;
const clearly = 0.8;
const enough = 5; // fewer past predictions prove nothing

/** Predicted seconds of an installation by one model. */
export function predictInstall(state: InstallState, model: InstallModel, work: InstallWork): Estimate {
  const spread = robustSpread(state.record[model], modelSpread[model]);
  return withInterval(work.packages.length === 0 ? 0 : secondsBy(state, model, work), spread);
}

function secondsBy(state: InstallState, model: InstallModel, work: InstallWork): number {
  const { packages, installed } = work;
  const bytes = packages.reduce((sum, entry) => sum + entry.debBytes, 0);
  const own = (): number => unpackSeconds(state.packages, packages) + packages.reduce((sum, entry) => sum + configureSeconds(state.packages, entry), 0);
  switch (model) {
    case 'M0':
      return predictLine(installPriors.M0, state.M0, [1, bytes / MiB]).seconds;
    case 'M1': {
      const files = packages.reduce((sum, entry) => sum + filesOf(state.packages, entry), 0);
      return predictLine(installPriors.M1, state.M1, [1, bytes / MiB, packages.length, files / 1000]).seconds;
    }
    case 'M2':
      return overhead(state.overhead.M2, work) + own() + packages.reduce((sum, entry) => sum + ownTriggerSeconds(state.packages, entry), 0);
    case 'M3':
      return overhead(state.overhead.M3, work) + own() + triggerSeconds(state.packages, packages, installed);
  }
}

function overhead(state: LineState, { packages, installed }: InstallWork): number {
  return predictLine(installPriors.overhead, state, [1, packages.length, installed]).seconds;
}

/** The model with the least median error on this site, a simpler one only if it is clearly better; while the record is short: M3 once packages were seen, else M1. */
export function bestModel(state: InstallState): InstallModel {
  const ready = bests.get(state) ?? findBest(state);
  bests.set(state, ready);
  return ready;
}

const bests = new WeakMap<InstallState, InstallModel>();

function findBest(state: InstallState): InstallModel {
  if (installModels.some((model) => state.record[model].length < enough)) return state.packages.transactions > 0 ? 'M3' : 'M1';
  const error = (model: InstallModel): number => medianOf(state.record[model].map(Math.abs));
  return [...installModels].reverse().reduce((best, model) => (error(model) < clearly * error(best) ? model : best));
}

/** @returns the state after one installation; unchanged if its seconds cannot be */
export function learnInstall(state: InstallState, seen: InstallObservation): InstallState {
  if (!isPlausible(seen.seconds) || seen.items <= 0) return state;
  const inside = seen.phases.filter((row) => row.version !== '' && isPlausible(row.seconds));
  const files = [...new Map(inside.map((row) => [row.package, row.files])).values()].reduce((sum, count) => sum + count, 0);
  const mib = seen.bytes / MiB;
  const lines = {
    M0: learnLine(state.M0, [1, mib], seen.seconds),
    M1: learnLine(state.M1, [1, mib, seen.items, (files > 0 ? files : filesOf(state.packages, { name: '', debBytes: seen.bytes })) / 1000], seen.seconds),
  };
  if (inside.length === 0) return { ...state, ...lines };
  return {
    ...lines,
    packages: learnPackages(state.packages, seen.phases, seen.installed),
    overhead: {
      M2: learnLine(state.overhead.M2, [1, seen.items, seen.installed], Math.max(0, seen.seconds - total(inside))),
      M3: learnLine(state.overhead.M3, [1, seen.items, seen.installed], Math.max(0, seen.seconds - total(seen.phases.filter((row) => isPlausible(row.seconds))))),
    },
    record: recordOf(state, seen, inside),
  };
}

/** Every model's error on this observation, before it is learned. */
function recordOf(state: InstallState, seen: InstallObservation, inside: readonly PackageTiming[]): InstallState['record'] {
  const packages = [...new Map(inside.map((row) => [row.package, { name: row.package, debBytes: row.bytes }])).values()];
  const error = (model: InstallModel): readonly number[] => {
    const predicted = secondsBy(state, model, { packages, installed: seen.installed });
    return [...state.record[model], (predicted - seen.seconds) / Math.max(0.1, seen.seconds)].slice(-kept);
  };
  return { M0: error('M0'), M1: error('M1'), M2: error('M2'), M3: error('M3') };
}

function total(rows: readonly PackageTiming[]): number {
  return rows.reduce((sum, row) => sum + row.seconds, 0);
}
