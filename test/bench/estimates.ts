/**
 * The install experiment (`npm run bench -- estimates`): really installs every package set once over the base image, in a
 * seeded order. The models learn from the first two thirds; what they say of the last third, sets they have never seen,
 * is compared with what was measured. Layers are thrown away, .debs are fetched beforehand and not timed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { installModels, predictInstall, type InstallModel } from '../../src/domain/estimate/install.js';
import { coldSite, learn } from '../../src/domain/estimate/site.js';
import type { BaseImage } from '../../src/ports.js';
import { lendBase, testBase, testCache, workshop, type Workshop } from '../support/layers.js';
import { packageSets } from './package-sets.js';

const seed = 1;
const trainedShare = 2 / 3;

interface Outcome {
  readonly set: string;
  readonly packages: number;
  readonly measured: number;
  readonly said: Readonly<Record<InstallModel, number>>;
}

/** Runs it and prints two tables: each unseen set, and the errors of each model. About 10 minutes. */
export async function benchEstimates(): Promise<void> {
  const base = await testBase();
  const home = mkdtempSync(join(testCache, 'estimates-'));
  try {
    lendBase(base, home);
    const place = workshop(home);
    await place.catalogue.update(base.os, 24 * 3600);
    report(await experiment(place, base));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** @returns what each model said of the sets that it had not seen, and what was measured */
async function experiment(place: Workshop, base: BaseImage): Promise<readonly Outcome[]> {
  const order = shuffled(packageSets, seed);
  const trained = Math.round(order.length * trainedShare);
  const unseen: Outcome[] = [];
  let site = coldSite;
  for (const [n, asked] of order.entries()) {
    const installed = await installOnce(place, base, asked);
    if (installed === undefined) continue;
    const work = { packages: installed.packages, installed: 0 };
    const said = Object.fromEntries(installModels.map((model) => [model, predictInstall(site.install, model, work).seconds])) as Record<InstallModel, number>;
    const { stage, phases } = installed;
    if (n < trained) site = learn(site, { ...stage, install: { phases, installed: 0 } });
    else unseen.push({ set: asked.join(' '), packages: stage.items, measured: stage.seconds, said });
    console.error(`${n + 1}/${order.length} ${n < trained ? 'trained' : 'unseen'} ${asked.join(' ')}: ${stage.items} packages, ${stage.seconds.toFixed(1)} s, M3 ${said.M3.toFixed(1)} s`);
  }
  return unseen;
}

function report(unseen: readonly Outcome[]): void {
  console.log(`${unseen.length} sets never seen, ${packageSets.length} in all, seed ${seed}\n`);
  console.log(['set'.padEnd(38), 'packages', 'measured s', ...installModels.map((model) => `${model} s`)].map((head) => head.padStart(8)).join('  '));
  for (const { set, packages, measured, said } of unseen) {
    console.log([set.slice(0, 38).padEnd(38), String(packages).padStart(8), measured.toFixed(1).padStart(10), ...installModels.map((model) => said[model].toFixed(1).padStart(8))].join('  '));
  }
  console.log('\nmodel   MAPE    p90   worst   bias');
  for (const model of installModels) console.log(errorLine(model, unseen));
}

/** One set installed as a delta that is thrown away; undefined if nothing is to be installed. */
async function installOnce({ catalogue, builder }: Workshop, base: BaseImage, asked: readonly string[]) {
  const resolution = await catalogue.resolve(base.os, base, asked);
  if (resolution.packages.length === 0) return undefined;
  const built = await builder.delta(resolution, base, { signal: new AbortController().signal, progress: () => {} });
  await builder.remove(built.layer.digest);
  const stage = built.stages.find((one) => one.stage === 'install');
  return stage && { stage, phases: built.packages, packages: resolution.packages };
}

function errorLine(model: InstallModel, outcomes: readonly Outcome[]): string {
  const errors = outcomes.map(({ measured, said }) => (said[model] - measured) / measured);
  const sizes = errors.map(Math.abs).sort((a, b) => a - b);
  const percent = (value: number): string => `${(100 * value).toFixed(1)} %`.padStart(7);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  return `${model}   ${percent(mean(sizes))} ${percent(sizes[Math.floor((sizes.length - 1) * 0.9)] ?? 0)} ${percent(sizes.at(-1) ?? 0)} ${percent(mean(errors))}`;
}

/** Fisher and Yates over a small linear congruential generator: the same order for the same seed. */
function shuffled<T>(items: readonly T[], from: number): T[] {
  const result = [...items];
  let state = from;
  for (let i = result.length - 1; i > 0; i--) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    const j = Math.floor((state / 2_147_483_648) * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}
