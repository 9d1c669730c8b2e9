/** `npm run simulate`: policies of making images against one trace, side by side. Nothing of the machine is touched. */
import { parseArgs } from 'node:util';
import { clairvoyant, greedy, landlord, leastRecentlyUsed, none, paper } from './policies.js';
import { Site, type Outcome, type Policy } from './site.js';
import { ClosureBook, makeTrace, readClosures, type Closures } from './trace.js';
import { World } from './world.js';

const usage = `usage: npm run simulate -- [--requests 10000] [--seed 1]... [--zipf 1] [--percent 2]... [--budget MB]...

Replays a synthetic trace against policies of making cache images. --percent is the M of the paper's rule, which has no
budget: greedy runs once more with just the bytes that it takes. --budget: bytes of cache layers, in MB, for the other policies.
--seed, --percent and --budget may be given more than once; with several seeds the last lines say the means.`;

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '10000' },
    seed: { type: 'string', multiple: true, default: ['1'] },
    zipf: { type: 'string', default: '1' },
    percent: { type: 'string', multiple: true, default: ['50', '10', '2'] },
    budget: { type: 'string', multiple: true, default: ['1000'] },
    help: { type: 'boolean', short: 'h' },
  },
});

function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (text !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new Error(`--${name} ${text}: a number of at least 0 is needed`);
}

interface Options {
  readonly requests: number;
  readonly zipf: number;
  readonly percents: readonly number[];
  /** Bytes. */
  readonly budgets: readonly number[];
}

/** What one seed says: a sentence to its figure, a share. */
type Findings = ReadonlyMap<string, number>;

function replay(data: Closures, seed: number, { requests, zipf, percents, budgets }: Options): Findings {
  const book = new ClosureBook(data);
  const trace = makeTrace(book, { seed, requests, zipf });
  console.log(`${trace.length} requests, ${new Set(trace.map(({ closure }) => closure.id)).size} different closures over ${data.packages.length} packages, seed ${seed}, Zipf exponent ${zipf}\n`);
  console.log('policy            budget MB  mean s   p95 s  stored MB   sent GB  regret s');
  const run = (policy: Policy, budget: number): Outcome => {
    const outcome = new Site(new World(data, seed), trace, budget).run(policy);
    const limit = Number.isFinite(budget) ? megabytes(budget) : '-';
    console.log([policy.name.padEnd(16), limit.padStart(10), outcome.mean.toFixed(2).padStart(7), outcome.p95.toFixed(2).padStart(7), megabytes(outcome.stored).padStart(10), (outcome.sent / 1e9).toFixed(1).padStart(9), outcome.regret.toFixed(3).padStart(9)].join(' '));
    return outcome;
  };
  const findings = new Map<string, number>();
  run(none, Infinity);
  for (const percent of percents) {
    const theirs = run(paper(book, percent), Infinity);
    findings.set(`greedy takes less mean time than the paper's rule with M = ${percent}, at its bytes`, 1 - run(greedy(book), theirs.stored).mean / theirs.mean);
  }
  for (const budget of budgets) {
    run(leastRecentlyUsed(), budget);
    run(landlord(book), budget);
    const ours = run(greedy(book), budget);
    findings.set(`greedy takes more mean time than clairvoyant at ${megabytes(budget)} MB`, ours.mean / run(clairvoyant(book), budget).mean - 1);
  }
  return findings;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

function main(): void {
  if (values.help === true) return void console.log(usage);
  const begun = performance.now();
  const several = (name: 'seed' | 'percent' | 'budget'): number[] => values[name].map((text) => numberOf(name, text));
  const options: Options = { requests: Math.max(1, Math.trunc(numberOf('requests', values.requests))), zipf: numberOf('zipf', values.zipf), percents: several('percent'), budgets: several('budget').map((budget) => budget * 1e6) };
  const data = readClosures();
  const seeds = several('seed');
  const found = seeds.map((seed) => replay(data, seed, options));
  console.log('');
  for (const sentence of found[0]?.keys() ?? []) {
    const shares = found.map((findings) => 100 * (findings.get(sentence) ?? 0));
    const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    console.log(`${mean.toFixed(1)} %: ${sentence}${shares.length > 1 ? ` (seeds ${seeds.join(', ')}: ${shares.map((share) => share.toFixed(1)).join(', ')})` : ''}`);
  }
  console.log(`${((performance.now() - begun) / 1000).toFixed(0)} s`);
}

main();
