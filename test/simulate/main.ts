/** `npm run simulate`: policies of making images against one trace, side by side. Nothing of the machine is touched. */
import { parseArgs } from 'node:util';
import { clairvoyant, greedy, landlord, leastRecentlyUsed, none, paper } from './policies.js';
import { Site, type Outcome, type Policy } from './site.js';
import { ClosureBook, makeTrace, readClosures } from './trace.js';
import { World } from './world.js';

const usage = `usage: npm run simulate -- [--requests 10000] [--seed 1] [--zipf 1] [--budget MB]...

Replays a synthetic trace against policies of making cache images. --budget (bytes of cache layers, in MB) may be
given more than once. The paper's rule has no budget: greedy runs once more with the bytes that each of its M takes.`;

const { values } = parseArgs({
  options: { requests: { type: 'string', default: '10000' }, seed: { type: 'string', default: '1' }, zipf: { type: 'string', default: '1' }, budget: { type: 'string', multiple: true, default: ['1000'] }, help: { type: 'boolean', short: 'h' } },
});

function numberOf(name: 'requests' | 'seed' | 'zipf', text: string): number {
  const value = Number(text);
  if (text !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new Error(`--${name} ${text}: a number of at least 0 is needed`);
}

function main(): void {
  if (values.help === true) return void console.log(usage);
  const begun = performance.now();
  const [requests, seed, zipf] = [numberOf('requests', values.requests), numberOf('seed', values.seed), numberOf('zipf', values.zipf)];
  const data = readClosures();
  const book = new ClosureBook(data);
  const trace = makeTrace(book, { seed, requests: Math.max(1, Math.trunc(requests)), zipf });
  console.log(`${trace.length} requests, ${new Set(trace.map(({ closure }) => closure.id)).size} different closures over ${data.packages.length} packages, seed ${seed}, Zipf exponent ${zipf}\n`);
  console.log('policy            budget MB  mean s   p95 s  stored MB   sent GB  regret s');
  const run = (policy: Policy, budget: number): Outcome => {
    const outcome = new Site(new World(data, seed), trace, budget).run(policy);
    const limit = Number.isFinite(budget) ? (budget / 1e6).toFixed(0) : '-';
    console.log([policy.name.padEnd(16), limit.padStart(10), outcome.mean.toFixed(2).padStart(7), outcome.p95.toFixed(2).padStart(7), (outcome.stored / 1e6).toFixed(0).padStart(10), (outcome.sent / 1e9).toFixed(1).padStart(9), outcome.regret.toFixed(3).padStart(9)].join(' '));
    return outcome;
  };
  const compare = (better: Outcome, than: Outcome): string => `${((1 - better.mean / than.mean) * 100).toFixed(1)} %`;
  run(none, Infinity);
  const notes: string[] = [];
  for (const percent of [50, 10, 2]) {
    const theirs = run(paper(book, percent), Infinity);
    const ours = run(greedy(book), theirs.stored);
    notes.push(`greedy against the paper's rule with M = ${percent} at its bytes (${(theirs.stored / 1e6).toFixed(0)} MB): ${compare(ours, theirs)} less mean time`);
  }
  for (const budget of values.budget.map((text) => Number(text) * 1e6)) {
    run(leastRecentlyUsed(), budget);
    run(landlord(book), budget);
    const ours = run(greedy(book), budget);
    const best = run(clairvoyant(book), budget);
    notes.push(`greedy against clairvoyant at ${(budget / 1e6).toFixed(0)} MB: ${((ours.mean / best.mean - 1) * 100).toFixed(1)} % more mean time`);
  }
  console.log(`\n${notes.join('\n')}\n${((performance.now() - begun) / 1000).toFixed(0)} s`);
}

main();
