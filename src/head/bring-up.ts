/**
 * The story of a part, from accepted to running nodes, as a list of named steps with undo.
 *
 *   plan      resolve the packages, look at the stock, predict every stage, store the plan
 *   build     the layers that are missing
 *   populate  per host, as a stream: bring the layers, then start its nodes
 *
 * Every step may run again after a crash and then does only what is left. When a step fails or the
 * part is destroyed, undo runs from the last step to the first (tasks.ts). What happens next (join,
 * verify) is the gatekeeper's; it comes back as confirmPart.
 */
import { eachLimited } from '../domain/each-limited.js';
import { GridError } from '../domain/error.js';
import type { ContextFile, NodeSpec, PartSpec } from '../domain/node.js';
import { planSite, sitePredictions } from '../domain/plan-site.js';
import type { Layer, Resolution } from '../domain/image.js';
import type { Stage } from '../domain/plan.js';
import type { BaseImage, Distributor } from '../ports.js';
import type { Database } from '../store/database.js';
import type { ComputeHost, Hosts } from './hosts.js';
import type { Kernels } from './kernels.js';
import type { SiteClock } from './site-clock.js';
import type { ImageStock } from './images.js';
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
  found: { base?: BaseImage; resolution?: Resolution; layers?: readonly Layer[] };
}

export interface Step {
  readonly name: string;
  run(job: Job): Promise<void>;
  undo(job: Job): Promise<void>;
}

const startsAtOnce = 4; // per host, unless its driver says otherwise: more only queue for the same two locks (mount, netlink)

const nothingToUndo = async (): Promise<void> => {};

export const steps: readonly Step[] = [
  { name: 'plan', run: plan, undo: nothingToUndo },
  { name: 'build', run: build, undo: nothingToUndo }, // layers stay: they are the cache
  { name: 'populate', run: populate, undo: removeNodes },
];

/** Runs the steps in order. What a failure leaves is undone by takeDown, which the caller repeats until it succeeds. */
export async function bringUp(job: Job): Promise<void> {
  for (const step of steps) {
    if (job.signal.aborted) throw new GridError('interrupted', `cluster ${job.spec.cluster} was destroyed during ${step.name}`);
    await step.run(job);
  }
}

/** Undoes the steps, last first; all run, then the first failure is thrown. Repeatable. */
export async function takeDown(job: Job): Promise<void> {
  const failures: unknown[] = [];
  for (const step of [...steps].reverse()) await step.undo(job).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

async function plan(job: Job): Promise<void> {
  const { head, spec, signal } = job;
  await head.parts.advance(spec.cluster, 'building');
  const begun = new Date();
  const asked = openBundles(head.bundles, spec);
  const before = await head.stock.readyBase(spec.os);
  if (before === undefined) await head.parts.event(spec.cluster, 'stage-started', 'base: making the base image, the first time only');
  const base = await head.stock.base(spec.os, signal, (_, text) => void head.parts.event(spec.cluster, 'stage-started', text));
  const resolving = new Date();
  const resolution = await head.stock.resolve(spec.os, base.layer, asked, signal);
  const image = await head.stock.cached(resolution, base.layer);
  const hosts = new Set((await head.parts.nodes(spec.cluster)).map((node) => node.host)).size;
  const work = { site: head.site, nodes: spec.nodes.length, hosts, resolution, stock: { baseReady: before !== undefined, image }, models: await head.clock.models() };
  const sitePlan = planSite(work);
  await head.parts.setPlan(spec.cluster, sitePlan, resolution.key);
  await head.clock.keep(spec.cluster, sitePredictions(work));
  await head.parts.event(spec.cluster, 'state', `plan: ${sitePlan.reason}; predicted ${sitePlan.predicted.toFixed(1)} s`);
  if (before === undefined) await measured(job, 'base', begun, { bytes: base.layer.bytes, items: 1, until: resolving });
  await measured(job, 'resolve', resolving, { bytes: 0, items: asked.length });
  job.found = { base: base.layer, resolution };
}

async function build(job: Job): Promise<void> {
  const { head, spec, signal, found } = job;
  if (found.base === undefined || found.resolution === undefined) throw new Error('build before plan');
  const begun = new Date();
  const image = await head.stock.image(found.resolution, found.base, signal, (stage, text) => void head.parts.event(spec.cluster, 'stage-started', `${stage}: ${text}`));
  await head.parts.packageTimings(spec.cluster, image.packages); // first: the clock reads them with the stage's row
  for (const stage of image.stages) await head.parts.measured(spec.cluster, stage, begun);
  job.found = { ...found, layers: image.layers };
}

async function populate(job: Job): Promise<void> {
  const { head, spec, found } = job;
  const layers = found.layers;
  if (layers === undefined) throw new Error('populate before build');
  await head.parts.setImage(spec.cluster, layers);
  await head.parts.advance(spec.cluster, 'launching');
  const placed = await head.parts.nodes(spec.cluster);
  const names = [...new Set(placed.map((node) => node.host))];
  const distributing = new Date();
  const sent: { at: Date; bytes: number }[] = [];
  const failures: unknown[] = [];
  await Promise.all(
    names.map(async (name) => {
      const host = head.hosts.get(name);
      const { image, bytes } = await bringImage(head, spec, host, layers, job.signal);
      sent.push({ at: new Date(), bytes });
      await startNodes(job, host, image, placed.filter((node) => node.host === name));
    }).map((host) => host.catch((error: unknown) => failures.push(error))),
  );
  const distributed = new Date(Math.max(distributing.getTime(), ...sent.map(({ at }) => at.getTime())));
  await checkQuorum(job, failures[0]);
  await measured(job, 'distribute', distributing, { bytes: sent.reduce((sum, { bytes }) => sum + bytes, 0), items: names.length, until: distributed });
  await measured(job, 'launch', distributed, { bytes: 0, items: placed.length });
  await head.parts.advance(spec.cluster, 'joining');
}

async function startNodes(job: Job, host: ComputeHost, image: HostImage, nodes: readonly PlacedNode[]): Promise<void> {
  await eachLimited(nodes, host.driver.startsAtOnce ?? startsAtOnce, async (placed) => {
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

async function measured(job: Job, stage: Stage, begun: Date, work: { bytes: number; items: number; until?: Date }): Promise<void> {
  const seconds = ((work.until ?? new Date()).getTime() - begun.getTime()) / 1000;
  await job.head.parts.measured(job.spec.cluster, { stage, seconds, bytes: work.bytes, items: work.items }, begun);
}
