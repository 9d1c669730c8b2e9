/**
 * `npm run bench:gram`: the original GRAM (Debian's globus-gatekeeper with its fork job manager) and ours on one machine in one
 * run, with the same commands of the same client: globusrun -a, -b, -F one after the other, then eight at a time. The rounds
 * of both alternate, with a rest between, so that a slow minute of the machine hits both.
 */
import { cpus } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { runClient } from '../support/gram-world.js';

/** One of the two: how its clients call it. */
export interface Contestant {
  readonly name: string;
  readonly contact: string;
  readonly rsl: string;
  readonly env: NodeJS.ProcessEnv;
}

const rounds = 3;
const perRound = 10;
const parallel = 8;
const inParallel = 40;
const restSeconds = 2;
/** The original's job manager needs some for the scripts of its last jobs. */
const longRestSeconds = 6;

type Figures = Record<'-a' | '-b' | '-F', number[]> & Record<'rate -b' | 'rate -F', number[]>;

/** Measures both and prints the table with the ratios. @returns false if an aim is missed */
export async function compare(original: Contestant, ours: Contestant): Promise<boolean> {
  const found = new Map([original, ours].map((each) => [each.name, { '-a': [], '-b': [], '-F': [], 'rate -b': [], 'rate -F': [] } as Figures]));
  for (const each of [original, ours]) await measure(each, found.get(each.name) as Figures, 3, 8); // both are warm, and their code compiled
  for (const figures of found.values()) for (const list of Object.values(figures)) list.length = 0;
  for (let round = 0; round < rounds; round++) for (const each of [original, ours]) {
    const figures = found.get(each.name) as Figures;
    await measure(each, figures, perRound, inParallel);
    console.error(`round ${round + 1}, ${each.name}: ${Object.entries(figures).map(([what, list]) => `${what} ${median(list).toFixed(1)}`).join(', ')}`);
  }
  return report(found.get(original.name) as Figures, found.get(ours.name) as Figures);
}

async function measure(of: Contestant, figures: Figures, count: number, many: number): Promise<void> {
  for (let n = 0; n < count; n++) figures['-a'].push(await once(of, ['-a']));
  for (const mode of ['-b', '-F'] as const) {
    for (let n = 0; n < count; n++) figures[mode].push(await once(of, ['-q', mode]));
    await pause(restSeconds * 1000);
  }
  for (const mode of ['-b', '-F'] as const) {
    const begun = performance.now();
    let left = many;
    await Promise.all(Array.from({ length: parallel }, async () => { while (left-- > 0) await once(of, ['-q', mode]); }));
    figures[`rate ${mode}`].push(many / ((performance.now() - begun) / 1000));
    await pause(longRestSeconds * 1000);
  }
}

/** Milliseconds of one command; throws if it failed. */
async function once({ contact, rsl, env }: Contestant, flags: readonly string[]): Promise<number> {
  const ran = await runClient(['globusrun', ...flags, '-r', contact, ...(flags.includes('-a') ? [] : [rsl])], env, { seconds: 60 });
  if (ran.code !== 0) throw new Error(`globusrun ${flags.join(' ')} -r ${contact} ended with ${ran.code}: ${ran.out}${ran.err}`);
  return ran.ms;
}

function report(original: Figures, ours: Figures): boolean {
  const rows = [
    { what: 'globusrun -a, median ms', key: '-a', aim: 0.4, least: false },
    { what: 'globusrun -q -b, median ms', key: '-b', aim: 0.3, least: false },
    { what: 'globusrun -q -F, median ms', key: '-F', aim: 0.3, least: false },
    { what: `${parallel} parallel -b, submits a second`, key: 'rate -b', aim: 4, least: true },
    { what: `${parallel} parallel -F, submits a second`, key: 'rate -F', aim: 4, least: true },
  ] as const;
  console.log('| | original | gridvc | ratio | aim |\n|---|---|---|---|---|');
  let all = true;
  for (const { what, key, aim, least } of rows) {
    const [theirs, mine] = [median(original[key]), median(ours[key])];
    const ratio = mine / theirs;
    const met = least ? ratio >= aim : ratio <= aim;
    all &&= met;
    console.log(`| ${what} | ${theirs.toFixed(1)} | ${mine.toFixed(1)} | ${ratio.toFixed(2)} | ${least ? 'at least' : 'at most'} ${aim}${met ? '' : ' (missed)'} |`);
  }
  console.log(`(${rounds} rounds of ${perRound}, and of ${inParallel} with ${parallel} at a time; ${cpus().length} cores)`);
  return all;
}

function median(list: readonly number[]): number {
  return [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? NaN;
}
