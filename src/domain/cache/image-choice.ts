/**
 * Which image a request starts from: of all that may serve it, the one with the least predicted time
 * to ready. Pure; who calls it predicts the seconds of each stage for each candidate.
 */
import type { ResolvedPackage } from '../image.js';
import type { Stage } from '../plan.js';

/** How the packages that an image lacks are added. */
export type Adding = 'in-every-node' | 'once-on-the-head';

export interface Candidate {
  /** Short name for people: "base image", "cache image c3". */
  readonly label: string;
  readonly adding: Adding;
  /** Predicted seconds of each stage still to pass. */
  readonly seconds: Partial<Readonly<Record<Stage, number>>>;
}

export interface Choice<C extends Candidate> {
  readonly chosen: C;
  readonly total: number;
  /** All candidates with their totals, best first. */
  readonly ranking: readonly { readonly candidate: C; readonly total: number }[];
  /** "cache image c3: saves 14.2 s of install, costs 0.8 s of transfer" */
  readonly reason: string;
}

/**
 * May an image of these packages serve that closure? Every package that both have must be of the same
 * version (an older one is stale); packages beyond the closure only if the user did not ask `exact`.
 */
export function isUsable(image: ReadonlyMap<string, string>, closure: readonly Pick<ResolvedPackage, 'name' | 'version'>[], exact: boolean): boolean {
  let shared = 0;
  for (const { name, version } of closure) {
    const has = image.get(name);
    if (has === undefined) continue;
    if (has !== version) return false;
    shared += 1;
  }
  return !exact || shared === image.size;
}

/**
 * @param candidates at least one; the first is what the reason compares with (by custom the base image)
 * @returns the candidate of least total time; of equal ones the first
 */
export function chooseImage<C extends Candidate>(candidates: readonly [C, ...C[]]): Choice<C> {
  const ranking = candidates.map((candidate) => ({ candidate, total: totalOf(candidate) })).sort((a, b) => a.total - b.total);
  const [best = { candidate: candidates[0], total: totalOf(candidates[0]) }] = ranking;
  return { chosen: best.candidate, total: best.total, ranking, reason: reasonFor(best.candidate, candidates[0]) };
}

const groups: readonly { readonly word: string; readonly stages: readonly Stage[] }[] = [
  { word: 'download', stages: ['download'] },
  { word: 'install', stages: ['install', 'pack'] },
  { word: 'transfer', stages: ['distribute'] },
  { word: 'start', stages: ['base', 'launch', 'join', 'verify'] },
];
const worthSaying = 0.05; // seconds

function reasonFor(chosen: Candidate, reference: Candidate): string {
  if (chosen === reference) return `${chosen.label}: no other image takes less time`;
  const differences = groups.map(({ word, stages }) => ({ word, saved: sumOf(reference, stages) - sumOf(chosen, stages) }));
  const part = (verb: string, sign: 1 | -1): string[] => {
    const words = differences.filter(({ saved }) => saved * sign >= worthSaying).sort((a, b) => (b.saved - a.saved) * sign).map(({ word, saved }) => `${Math.abs(saved).toFixed(1)} s of ${word}`);
    return words.length > 0 ? [`${verb} ${words.join(' and ')}`] : [];
  };
  const text = [...part('saves', 1), ...part('costs', -1)].join(', ');
  return `${chosen.label}: ${text === '' ? 'as quick as the base image' : text}`;
}

function totalOf(candidate: Candidate): number {
  return Object.values(candidate.seconds).reduce((sum, seconds) => sum + seconds, 0);
}

function sumOf(candidate: Candidate, stages: readonly Stage[]): number {
  return stages.reduce((sum, stage) => sum + (candidate.seconds[stage] ?? 0), 0);
}
