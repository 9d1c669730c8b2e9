/**
 * `npm run bench:estimates`: really installs every package set over the base image and over a cache image, several times, and tells how good
 * the install models are on sets that they have never seen. It goes on where it was stopped (`--seconds N` ends a piece early), then writes the
 * measurements to test/data/install-runs.json, the tables to docs/benchmarks.md and the plot to docs/estimates.svg.
 * `--replay` judges the models again from the kept measurements (a second); `--priors` writes src/domain/estimate/package-priors.ts from them.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installModels } from '../../src/domain/estimate/install.js';
import { lowMedianOf, medianOf } from '../../src/domain/estimate/line.js';
import { root } from '../support/grid.js';
import { testCache } from '../support/layers.js';
import { percent, writeSection } from './docs-section.js';
import { errorsOf, judgeFolds, regrets, type ErrorFigures, type Outcome } from './estimate-folds.js';
import { readRuns, runInstallations, type InstallRun } from './install-runs.js';
import { moreSets } from './more-sets.js';
import { packageSets } from './package-sets.js';
import { paperInstall } from './paper/figures.js';
import { readData, writeData } from './run-data.js';
import { colours, scatter } from './svg.js';

const repeats = 3;
/** What the cache image holds: common ground of many sets, as the head's own rule would find it. */
const cached = ['gcc', 'python3-minimal', 'perl', 'openmpi-bin'];
const file = join(testCache, 'install-runs.jsonl');
const least = 0.05; // seconds of configuring, below which a package is like others of its kind

export interface EstimateFlags {
  readonly replay: boolean;
  readonly priors: boolean;
  readonly seconds: number;
}

export async function benchEstimates(flags: EstimateFlags): Promise<void> {
  if (flags.priors) return writePriors(readData().runs);
  if (!flags.replay) {
    const left = await runInstallations({ file, sets: [...packageSets, ...moreSets], onCache: packageSets, cached, repeats, seconds: flags.seconds });
    if (left > 0) return console.log(`${left} installations are left: run this again to go on`);
    writeData(readRuns(file), new Date().toISOString().slice(0, 10));
  }
  const { made, runs } = readData();
  const outcomes = judgeFolds(runs);
  const section = report(outcomes, runs, made);
  console.log(section);
  writeSection('benchmarks.md', 'estimates', section);
  writeFileSync(join(root, 'docs/estimates.svg'), plot(outcomes));
}

/** Sets of package-sets.ts: those that the aims are about. */
export function judged(outcomes: readonly Outcome[]): readonly Outcome[] {
  const names = new Set(packageSets.map((set) => set.join(' ')));
  return outcomes.filter((outcome) => names.has(outcome.set));
}

function report(outcomes: readonly Outcome[], runs: readonly InstallRun[], made: string): string {
  const few = judged(outcomes);
  const on = (all: readonly Outcome[], below: string): readonly Outcome[] => all.filter((outcome) => outcome.below === below);
  const kinds: [string, readonly Outcome[]][] = [['on the base image', on(few, 'base')], ['on a cache image', on(few, 'cache')], ['both', few.filter((outcome) => outcome.below !== 'scratch')], ['from scratch: base and installation', on(few, 'scratch')], ['all sets, on the base image', on(outcomes, 'base')]];
  const rows = kinds.filter(([, all]) => all.length > 0).flatMap(([name, all]) => [
    ...installModels.map((model) => errorRow(`${name} | ${model}`, errorsOf(all, (outcome) => outcome.said[model]))),
    errorRow(`${name} | as planned`, errorsOf(all, (outcome) => outcome.chosen)),
  ]);
  const lost = regrets(few);
  const unseen = few.reduce((sum, outcome) => sum + outcome.unseen, 0) / few.reduce((sum, outcome) => sum + outcome.packages, 0);
  return [
    `${runs.length} installations of ${new Set(runs.filter((run) => run.set !== '').map((run) => run.set)).size} sets (${made}); ${noise(few, runs)}`,
    `The figures are about the ${packageSets.length} sets of package-sets.ts, each predicted by models that learned from other sets only (${on(few, 'base').length} on the base image, ${on(few, 'cache').length} on a cache image); ${percent(unseen)} of their packages were in none of those.`,
    '', '| image | model | mean error | 90 % below | worst | bias |', '|---|---|---|---|---|---|', ...rows, '',
    `Choice among the images measured (${[...new Set(few.map((outcome) => outcome.below))].join(', ')}) by what was said, ${lost.length} sets: ${lost.filter((one) => one.right).length} right, mean regret ${percent(lost.reduce((sum, one) => sum + one.regret, 0) / lost.length)} of the time to the packed image at the hosts, worst ${percent(Math.max(...lost.map((one) => one.regret)))}.`,
    '', '| set, on the base image | packages | never seen | measured s | M0 | M1 | M2 | M3 |', '|---|---|---|---|---|---|---|---|',
    ...on(few, 'base').map((outcome) => `| ${outcome.set} | ${outcome.packages} | ${outcome.unseen} | ${outcome.measured.toFixed(2)} | ${installModels.map((model) => outcome.said[model].toFixed(2)).join(' | ')} |`),
    '', '![predicted against measured seconds](estimates.svg)',
  ].join('\n');
}

/** What is known of the noise of a measurement. */
function noise(few: readonly Outcome[], runs: readonly InstallRun[]): string {
  const counts = new Map<string, number>();
  for (const run of runs) counts.set(`${run.below} ${run.set}`, (counts.get(`${run.below} ${run.set}`) ?? 0) + 1);
  if (Math.max(...counts.values()) === 1) return 'Each was measured once: what two measurements of the same set differ by is not taken out.';
  return `Measured is the median of the repeats, which lie ${percent(medianOf(few.map((outcome) => outcome.repeat)))} from it (median; worst ${percent(Math.max(...few.map((outcome) => outcome.repeat)))}).`;
}

function errorRow(name: string, { mean, p90, worst, bias }: ErrorFigures): string {
  return `| ${name} | ${[mean, p90, worst].map(percent).join(' | ')} | ${bias < 0 ? '' : '+'}${percent(bias)} |`;
}

function plot(outcomes: readonly Outcome[]): string {
  const few = judged(outcomes);
  const points = (said: (outcome: Outcome) => number): { x: number; y: number }[] => few.filter((outcome) => outcome.below !== 'scratch').map((outcome) => ({ x: outcome.measured, y: said(outcome) }));
  const paper = Object.values(paperInstall).flatMap((counts) => Object.values(counts)).flatMap(({ none, cache }) => [none, cache]).map(({ estimate, measured }) => ({ x: measured, y: estimate }));
  return scatter({
    title: 'Install stage: predicted against measured, sets never seen', x: 'measured, seconds', y: 'predicted, seconds', band: 0.1,
    series: [
      { name: 'M0, a line in bytes', points: points((outcome) => outcome.said.M0), colour: colours.orange, mark: 'cross' },
      { name: 'M3', points: points((outcome) => outcome.said.M3), colour: colours.blue, mark: 'dot' },
      { name: 'the paper (2006)', points: paper, colour: colours.grey, mark: 'ring' },
    ],
  });
}

/** Seconds of configuring of each package for which it takes long, over all runs. */
function writePriors(runs: readonly InstallRun[]): void {
  const seconds = new Map<string, number[]>();
  for (const row of runs.flatMap((run) => run.phases)) if (row.phase === 'configure' && row.version !== '') seconds.set(row.package, [...(seconds.get(row.package) ?? []), row.seconds]);
  const rows = [...seconds].map(([name, all]) => [name, lowMedianOf(all)] as const).filter(([, median]) => median >= least).sort(([a], [b]) => (a < b ? -1 : 1));
  const text = `/** Seconds that configuring takes, of packages for which it takes long, on the machine of priors.ts. Written by \`npm run bench:estimates -- --priors\`. */
export const packagePriors: Readonly<Record<string, number>> = {
${rows.map(([name, median]) => `  '${name}': ${median.toFixed(2)},\n`).join('')}};
`;
  writeFileSync(join(root, 'src/domain/estimate/package-priors.ts'), text);
  console.log(`${rows.length} packages`);
}
