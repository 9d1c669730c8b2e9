/**
 * `npm run bench [-- part ...]`: the figures of docs/benchmarks.md, measured now on this machine.
 * Parts: demo (cold and warm), clusters (cached, 4 and 50 nodes, per stage), calls (getCluster a second,
 * createCluster's own cost), commands (start-up of the CLI), identity (validating chains),
 * handshakes (memory of the front door over 10,000), build (our delta against plain apt-get), transfer (images to hosts behind a limited link, 4 minutes), estimates (38 package sets really installed, 10 minutes) and xen (domains on
 * a real dom0, 10 minutes where nothing helps the emulation): these three only when they are named. Each prints one table.
 */
import { cpus, totalmem } from 'node:os';
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { ClusterView } from '../../src/domain/views.js';
import { benchBuild } from './build.js';
import { benchEstimates } from './estimates.js';
import { benchHandshakes } from './handshakes.js';
import { benchTransfer } from './transfer.js';
import { benchXen } from './xen.js';
import { identity } from './identity.js';
import { predictedStages } from './stages.js';
import { gridvc, must, prepareHome, testHome, whyNoGrid } from '../support/grid.js';
import { connectTo } from './connection.js';

const parts = { demo, clusters, calls, commands, identity, handshakes: benchHandshakes, build: benchBuild, transfer: benchTransfer, estimates: () => benchEstimates(estimateFlags(process.argv.slice(2))), xen: benchXen } as const;
type Part = keyof typeof parts;

const wanted = process.argv.slice(2).filter((word): word is Part => Object.hasOwn(parts, word));
const why = whyNoGrid();
if (why !== undefined) {
  console.error(`bench: ${why}`);
  process.exit(1);
}
prepareHome();
console.log(`machine: ${cpus().length} x ${cpus()[0]?.model ?? '?'}, ${Math.round(totalmem() / 2 ** 30)} GiB; ${new Date().toISOString().slice(0, 10)}`);
for (const part of wanted.length > 0 ? wanted : (Object.keys(parts) as Part[]).filter((part) => part !== 'estimates' && part !== 'xen' && part !== 'transfer')) {
  console.log(`\n## ${part}`);
  await parts[part]();
}

/** --replay, --priors, --seconds N: of the part estimates. */
function estimateFlags(words: readonly string[]): Parameters<typeof benchEstimates>[0] {
  const at = words.indexOf('--seconds');
  return { replay: words.includes('--replay'), priors: words.includes('--priors'), seconds: at < 0 ? Infinity : Number(words[at + 1]) };
}

/** The whole demo in a state directory of its own: cold (nothing cached), then warm. */
async function demo(): Promise<void> {
  await must(['grid', 'down', '--purge']);
  for (const kind of ['cold', 'warm']) {
    const ran = await must(['demo', ...(kind === 'cold' ? ['--cold'] : [])], { seconds: 900 });
    console.log(`demo ${kind}: ${ran.seconds.toFixed(1)} s`);
  }
}

/** Request to verified ready, image cached; the median of three, then its stages. */
async function clusters(): Promise<void> {
  await withGrid(async () => {
    for (const count of [4, 50]) {
      const words = ['create', '--wait', '--json', '--count', String(count), '--memory', '128', '--disk', '400', '--placement', 'spread', '--package', 'hello'];
      await once(words); // fills the cache
      const runs: ClusterView[] = [];
      for (let n = 0; n < 3; n++) runs.push(await once(words));
      const sorted = [...runs].sort((a, b) => (a.measuredSeconds ?? 0) - (b.measuredSeconds ?? 0));
      console.log(`${count} nodes, cached: ${runs.map((run) => (run.measuredSeconds ?? NaN).toFixed(2)).join(', ')} s (median ${(sorted[1]?.measuredSeconds ?? NaN).toFixed(2)} s, predicted ${sorted[1]?.predictedSeconds.toFixed(2)} s)`);
      console.log(predictedStages(sorted[1]?.stages ?? []));
    }
  });
}

/** One kept connection, one call after the other, then eight at a time on eight connections. */
async function calls(): Promise<void> {
  await withGrid(async () => {
    const client = await connectTo(testHome);
    const cluster = JSON.parse((await must(['create', '--wait', '--json', '--count', '4', '--memory', '128', '--disk', '400'])).stdout) as ClusterView;
    const seconds = 3;
    for (const end = performance.now() + 2000; performance.now() < end; ) await client.getCluster(cluster.id); // both processes are compiled by then
    for (const lanes of [1, 8]) {
      let done = 0;
      const begun = performance.now();
      const end = begun + seconds * 1000;
      await Promise.all(Array.from({ length: lanes }, async () => { while (performance.now() < end) { await client.getCluster(cluster.id); done += 1; } }));
      console.log(`getCluster, ${lanes} at a time: ${Math.round(done / ((performance.now() - begun) / 1000))} a second`);
    }
    const costs: number[] = [];
    for (let n = 0; n < 20; n++) {
      const begun = performance.now();
      const made = await client.createCluster(createHash('sha256').update(`${Date.now()} ${n}`).digest('hex'), { count: 1, memory: 64, disk: 200 });
      costs.push(performance.now() - begun);
      await client.destroyCluster(made.id);
      while ((await client.getCluster(made.id)).state !== 'destroyed') await pause(50); // its end must not compete with the next one
    }
    costs.sort((a, b) => a - b);
    console.log(`createCluster, request to answer: median ${costs[10]?.toFixed(1)} ms, worst of 20 ${costs.at(-1)?.toFixed(1)} ms`);
    await must(['destroy', '--wait', cluster.id]);
    client.close();
  });
}

async function commands(): Promise<void> {
  for (const words of [['--help'], ['create', '--help'], ['proxy', 'info']]) {
    const times: number[] = [];
    for (let n = 0; n < 7; n++) times.push((await gridvc(words)).seconds * 1000);
    times.sort((a, b) => a - b);
    console.log(`gridvc ${words.join(' ')}: median ${times[3]?.toFixed(0)} ms`);
  }
}

async function once(words: readonly string[]): Promise<ClusterView> {
  const view = JSON.parse((await must(words, { seconds: 900 })).stdout) as ClusterView;
  await must(['destroy', '--wait', view.id]);
  return view;
}

async function withGrid(work: () => Promise<void>): Promise<void> {
  await must(['grid', 'up']);
  try {
    await must(['proxy', 'init']);
    await work();
  } finally {
    await gridvc(['grid', 'down']);
  }
}
