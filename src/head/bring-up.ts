/**
 * The story of a part, from accepted to running nodes, as a list of named steps with undo.
 *
 *   plan      resolve the packages, choose the image and how the rest is added (choice.ts), store the plan
 *   build     the layers that are missing
 *   populate  per host, as a stream: bring the layers, then start its nodes; they install the rest, if that is the plan
 *
 * Every step may run again after a crash and then does only what is left. When a step fails or the
 * part is destroyed, undo runs from the last step to the first (tasks.ts). What happens next (join,
 * verify) is the gatekeeper's; it comes back as confirmPart.
 */
import { eachLimited } from '../domain/each-limited.js';
import { GridError } from '../domain/error.js';
import type { ContextFile, NodeSpec, PartSpec } from '../domain/node.js';
import type { Layer } from '../domain/image.js';
import type { Distributor, MeasuredStage } from '../ports.js';
import type { Log } from '../log.js';
import type { Database } from '../store/database.js';
import type { Activity } from './activity.js';
import { choose, type Chosen } from './choice.js';
import { hostSpeed } from './host-speed.js';
import type { ComputeHost, Hosts } from './hosts.js';
import type { Hold, ImageStock } from './images.js';
import { awaitInstalled } from './in-nodes.js';
import { remedyFor } from './remedies.js';
import type { Kernels } from './kernels.js';
import type { SiteClock } from './site-clock.js';
import type { Parts, PlacedNode } from './parts.js';
import { bringImage, startNode, type HostImage } from './start-node.js';

/** What the head is made of, wired in main.ts. */
export interface HeadParts {
  readonly site: string;
  readonly db: Database;
  readonly parts: Parts;
  readonly hosts: Hosts;
  readonly stock: ImageStock;
  readonly kernels: Kernels;
  readonly distributor: Distributor;
  readonly clock: SiteClock;
  readonly activity: Activity;
  /** Makes room on a full disk: drops what the cache can spare. @returns bytes freed */
  makeRoom(): Promise<number>;
  readonly log: Log;
  /** Opens bundles: name to package names. */
  readonly bundles: Readonly<Record<string, readonly string[]>>;
  /** Everything in a node's private layer that is decided before it boots. */
  contextOf(spec: PartSpec, node: NodeSpec): readonly ContextFile[];
}

/** One part on its way up: the spec, and what the steps before have found. */
export interface Job {
  readonly head: HeadParts;
  readonly spec: PartSpec;
  readonly signal: AbortSignal;
  /** Layers that stay until the part's row names them. */
  readonly hold: Hold;
  /** Images that have failed this part. */
  readonly without: Set<string>;
  /** Remedies tried; each helps once. */
  readonly tried: Set<string>;
  found: { chosen?: Chosen; layers?: readonly Layer[] };
}

export interface Step {
  readonly name: string;
  run(job: Job): Promise<void>;
  undo(job: Job): Promise<void>;
}

const startsAtOnce = 4; // per host: more only queue for the same two locks (mount, netlink); domains of Xen: docs/xen.md has the measurement

const nothingToUndo = async (): Promise<void> => {};

export const steps: readonly Step[] = [
  { name: 'plan', run: plan, undo: nothingToUndo },
  { name: 'build', run: build, undo: nothingToUndo }, // layers stay: they are the cache
  { name: 'populate', run: populate, undo: removeNodes },
];

/**
 * Runs the steps in order; after a failure that has a remedy (remedies.ts), once more from the first. What a failure leaves
 * is undone by takeDown, which the caller repeats until it succeeds.
 */
export async function bringUp(job: Job): Promise<void> {
  try {
    for (const step of steps) {
      if (job.signal.aborted) throw new GridError('interrupted', `cluster ${job.spec.cluster} was destroyed during ${step.name}`);
      await step.run(job);
    }
  } catch (error) {
    const remedy = await remedyFor(job, error);
    if (remedy === undefined) throw error;
    await job.head.parts.event(job.spec.cluster, 'warning', `${(error as Error).message.slice(0, 500)}; ${remedy}`);
    await bringUp(job);
  } finally {
    job.hold.release();
  }
}

/** Undoes the steps, last first; all run, then the first failure is thrown. Repeatable. */
export async function takeDown(job: Job): Promise<void> {
  const failures: unknown[] = [];
  for (const step of [...steps].reverse()) await step.undo(job).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

async function plan(job: Job): Promise<void> {
  const { head, spec } = job;
  await head.parts.advance(spec.cluster, 'building');
  const started = new Date();
  if ((await head.stock.readyBase(spec.os)) === undefined) await head.parts.event(spec.cluster, 'stage-started', 'base: making the base image, the first time only');
  const nodes = await head.parts.nodes(spec.cluster);
  const vcpus = new Map((await head.hosts.capacities()).map((host) => [host.host, host.vcpus]));
  const hosts = [...new Set(nodes.map((node) => node.host))].map((name) => ({ ...head.hosts.get(name), vcpus: vcpus.get(name) ?? 1 }));
  const asked = { os: spec.os, packages: openBundles(head.bundles, spec), exact: spec.exact === true, nodes: spec.nodes.length, memory: spec.memory, disk: spec.disk };
  const chosen = await choose(head, asked, hosts, { signal: job.signal, hold: job.hold, without: job.without, progress: (_, text) => void head.parts.event(spec.cluster, 'stage-started', text) });
  const { planned, resolution } = chosen;
  await head.parts.setPlan(spec.cluster, planned.plan, resolution.key);
  await head.clock.keep(spec.cluster, planned.predictions);
  await head.parts.event(spec.cluster, 'state', `plan: ${planned.plan.reason}; predicted ${planned.plan.predicted.toFixed(1)} s`);
  for (const stage of baseStage(chosen.baseStages)) await head.parts.measured(spec.cluster, stage, started, { shared: !chosen.firstBase, speed: hostSpeed() });
  await head.parts.measured(spec.cluster, { stage: 'resolve', seconds: chosen.resolveSeconds, bytes: 0, items: asked.packages.length }, started);
  job.found = { chosen };
}

async function build(job: Job): Promise<void> {
  const { head, spec, signal, found, hold } = job;
  const { chosen } = found;
  if (chosen === undefined) throw new Error('build before plan');
  const started = new Date();
  const conditions = { concurrency: head.stock.building + 1, speed: hostSpeed() };
  const image = await head.stock.make(chosen.planned.chosen, chosen.resolution, chosen.base, { signal, hold, progress: (stage, text) => void head.parts.event(spec.cluster, 'stage-started', `${stage}: ${text}`) });
  await head.parts.standsOn(spec.cluster, image.layers.map(({ digest }) => digest));
  if (image.first) await head.parts.packageTimings(spec.cluster, image.packages); // first: the clock reads them with the stage's row
  for (const stage of image.stages) await head.parts.measured(spec.cluster, stage, started, { ...conditions, installed: image.installed, shared: !image.first });
  job.found = { ...found, layers: image.layers };
}

async function populate(job: Job): Promise<void> {
  const { head, spec, found } = job;
  const { layers, chosen } = found;
  if (layers === undefined || chosen === undefined) throw new Error('populate before build');
  await head.parts.setImage(spec.cluster, layers);
  await head.parts.advance(spec.cluster, 'launching');
  const placed = await head.parts.nodes(spec.cluster);
  const names = [...new Set(placed.map((node) => node.host))];
  const watch = new Stopwatch();
  const conditions = { concurrency: head.activity.atWork, speed: hostSpeed() };
  const sent: { at: number; bytes: number }[] = [];
  const failures: unknown[] = [];
  await Promise.all(
    names.map(async (name) => {
      const host = head.hosts.get(name);
      const { image, bytes } = await bringImage(head, spec, host, layers, job.signal);
      sent.push({ at: watch.seconds(), bytes });
      await startNodes(job, host, image, placed.filter((node) => node.host === name));
    }).map((host) => host.catch((error: unknown) => failures.push(error))),
  );
  const launched = watch.seconds();
  const distributed = Math.max(0, ...sent.map(({ at }) => at));
  await checkQuorum(job, failures[0]);
  await head.parts.measured(spec.cluster, { stage: 'distribute', seconds: distributed, bytes: sent.reduce((sum, { bytes }) => sum + bytes, 0), items: names.length }, watch.started, conditions);
  await head.parts.measured(spec.cluster, { stage: 'launch', seconds: launched - distributed, bytes: 0, items: placed.length }, watch.started, conditions);
  if (chosen.planned.chosen.adding === 'in-every-node' && chosen.planned.chosen.missing.length > 0) await installInNodes(job, chosen);
  await head.parts.advance(spec.cluster, 'joining');
}

/** The nodes install what came as .debs; the part goes on when all have, or enough. */
async function installInNodes(job: Job, chosen: Chosen): Promise<void> {
  const { head, spec } = job;
  const stage = chosen.planned.plan.stages.find((planned) => planned.stage === 'install');
  const watch = new Stopwatch();
  await head.parts.event(spec.cluster, 'stage-started', `install: ${stage?.items ?? 0} packages in every node`);
  const running = (await head.parts.nodes(spec.cluster)).filter((node) => node.state === 'running');
  const done = await awaitInstalled({ parts: head.parts, hosts: head.hosts, cluster: spec.cluster, signal: job.signal }, running);
  const work = { stage: 'install', bytes: stage?.bytes ?? 0, items: stage?.items ?? 0 } as const;
  const expected = chosen.planned.chosen.stages.find(({ inNodes }) => inNodes !== undefined)?.inNodes?.expected ?? 0;
  const conditions = { place: 'nodes', expected, concurrency: running.length, installed: chosen.planned.chosen.image?.packages.size ?? 0 } as const;
  for (const { node, seconds } of done) await head.parts.measured(spec.cluster, { ...work, seconds }, watch.started, { ...conditions, node });
  await checkQuorum(job, undefined);
  await head.parts.measured(spec.cluster, { ...work, seconds: watch.seconds() }, watch.started, conditions);
}

/** A base's own stages are one to a reader. */
function baseStage(stages: readonly MeasuredStage[]): readonly MeasuredStage[] {
  const layer = stages.at(-1);
  return layer === undefined ? [] : [{ stage: 'base', seconds: stages.reduce((sum, { seconds }) => sum + seconds, 0), bytes: layer.bytes, items: 1 }];
}

/** Seconds of a steady clock: the machine's own may jump. */
class Stopwatch {
  readonly started = new Date();
  private readonly begun = performance.now();
  seconds(): number {
    return (performance.now() - this.begun) / 1000;
  }
}

async function startNodes(job: Job, host: ComputeHost, image: HostImage, nodes: readonly PlacedNode[]): Promise<void> {
  await eachLimited(nodes, startsAtOnce, async (placed) => {
    if (job.signal.aborted) throw new GridError('interrupted', `cluster ${job.spec.cluster} was destroyed while its nodes started`);
    try {
      await startNode(job.head, job.spec, host, image, placed, job.signal);
      await job.head.parts.setNode(job.spec.cluster, placed.name, 'running');
    } catch (error) {
      await job.head.parts.setNode(job.spec.cluster, placed.name, 'failed', (error as Error).message);
      throw error;
    }
  });
}

/** Too few nodes came up: the first failure is the reason, with the node's name in front. */
async function checkQuorum(job: Job, failure: unknown): Promise<void> {
  const { head, spec } = job;
  const nodes = await head.parts.nodes(spec.cluster);
  const running = nodes.filter((node) => node.state === 'running').length;
  if (running >= spec.minCount && running > 0) return;
  const failed = nodes.find((node) => node.state === 'failed');
  if (failed === undefined && failure !== undefined) throw failure;
  throw new GridError('unavailable', `only ${running} of ${spec.nodes.length} nodes started at ${head.site}; ${failed?.name ?? 'a node'} on ${failed?.host ?? '?'}: ${failed?.reason ?? 'unknown'}`, { cause: failure });
}

async function removeNodes(job: Job): Promise<void> {
  const { head, spec } = job;
  const nodes = await head.parts.nodes(spec.cluster);
  await eachLimited(nodes, 8, (node) => head.hosts.get(node.host).driver.remove({ cluster: spec.cluster, node: node.name }));
  await head.parts.gone(spec.cluster);
}

/** Bundles become packages, each once, sorted. An unknown bundle is refused with the known ones. */
export function openBundles(bundles: Readonly<Record<string, readonly string[]>>, asked: { packages: readonly string[]; bundles: readonly string[] }): readonly string[] {
  const opened = asked.bundles.flatMap((name) => {
    const packages = Object.hasOwn(bundles, name) ? bundles[name] : undefined;
    if (packages === undefined) throw new GridError('bad-request', `this site has no bundle ${JSON.stringify(name)}`, { hint: `it has: ${Object.keys(bundles).sort().join(', ') || 'none'}` });
    return packages;
  });
  return [...new Set([...opened, ...asked.packages])].sort();
}
