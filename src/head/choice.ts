/**
 * Which image a request begins with: everything that the pure plan (domain/plan-site.ts) has to know, asked of the stock,
 * the hosts and apt. A fault of the cache is no fault of the request: without an image the base serves.
 */
import { availableParallelism } from 'node:os';
import type { Layer, ResolvedPackage, Resolution } from '../domain/image.js';
import { planSite, type PlannedSite, type SiteWork } from '../domain/plan-site.js';
import type { BaseImage, BuildProgress, Distributor, MeasuredStage } from '../ports.js';
import type { Log } from '../log.js';
import type { ComputeHost } from './hosts.js';
import type { Hold, ImageStock } from './images.js';
import type { SiteClock } from './site-clock.js';

export interface ChoiceParts {
  readonly site: string;
  readonly stock: ImageStock;
  readonly distributor: Distributor;
  readonly clock: SiteClock;
  readonly log: Log;
}

/** A host that will have nodes, and its processors. */
export type ChosenHost = Pick<ComputeHost, 'transport' | 'driver'> & { readonly vcpus: number };

/** What is asked of this site, bundles opened. */
export interface Asked {
  readonly os: string;
  readonly packages: readonly string[];
  readonly exact: boolean;
  readonly nodes: number;
  /** MiB of each node. */
  readonly memory: number;
  readonly disk: number;
}

export interface Chosen {
  readonly planned: PlannedSite;
  readonly base: BaseImage;
  /** What was spent on a base that was not there; empty if it was. `firstBase`: its rows are learned from. */
  readonly baseStages: readonly MeasuredStage[];
  readonly firstBase: boolean;
  readonly resolution: Resolution;
  readonly resolveSeconds: number;
}

export interface Choosing {
  readonly signal: AbortSignal;
  /** The chosen image's layers stay until its release. */
  readonly hold: Hold;
  readonly progress?: BuildProgress;
  /** Images that have failed this request already. */
  readonly without?: ReadonlySet<string>;
}

const leastNodeMemory = 256; // MiB: apt and dpkg of a large package set
const diskPerDeb = 6; // a .deb unpacked, its copy in the page cache's writeback, apt's caches
const mostQuestions = 3; // to apt, about images with other packages

export async function choose(parts: ChoiceParts, asked: Asked, hosts: readonly ChosenHost[], how: Choosing): Promise<Chosen> {
  const { stock, clock } = parts;
  const before = await stock.readyBase(asked.os);
  const { layer: base, stages: baseStages, first: firstBase } = await stock.base(asked.os, how.signal, how.progress);
  const begun = performance.now();
  const resolution = await stock.resolve(asked.os, base, asked.packages, how.signal);
  const resolveSeconds = (performance.now() - begun) / 1000;
  const [images, wire, models] = await Promise.all([usable(parts, base, how), wireTo(parts.distributor, hosts, how.signal), clock.models()]);
  const processors = availableParallelism();
  const work: SiteWork = {
    site: parts.site, nodes: asked.nodes, hosts: Math.max(1, hosts.length), resolution, base, baseReady: before !== undefined, images, exact: asked.exact, wire,
    headLoad: Math.max(1, (stock.building + 1) / processors), models,
    ...nodeLoad(asked, hosts, resolution),
  };
  return { planned: await sound(parts, work, how), base, baseStages, firstBase, resolution, resolveSeconds };
}

async function usable({ stock, log }: ChoiceParts, base: BaseImage, how: Choosing): Promise<SiteWork['images']> {
  try {
    await stock.judge(base, how.signal);
    return (await stock.usable(base)).filter(({ key }) => how.without?.has(key) !== true);
  } catch (error) {
    if (how.signal.aborted) throw error;
    log.error({ err: error }, 'the cache cannot be read; the base image serves');
    return [];
  }
}

/** The best plan whose image is whole, and goes with the rest by apt's own word. */
async function sound(parts: ChoiceParts, work: SiteWork, how: Choosing): Promise<PlannedSite> {
  const asked = new Map<string, readonly ResolvedPackage[] | 'refused'>();
  for (let questions = 0; ; questions += 1) {
    const planned = planSite({ ...work, asked });
    const { image, doubtful } = planned.chosen;
    if (image === undefined) return planned;
    if (!(await parts.stock.secure(image, how.hold).catch(() => false))) asked.set(image.key, 'refused');
    else if (!doubtful) return planned;
    else asked.set(image.key, questions < mostQuestions ? await rest(parts, work.resolution, image.layers.at(-1), how.signal) : 'refused');
  }
}

/** What apt would add to an image for the asked packages. */
async function rest({ stock }: ChoiceParts, resolution: Resolution, top: Layer | undefined, signal: AbortSignal): Promise<readonly ResolvedPackage[] | 'refused'> {
  if (top === undefined) return 'refused';
  try {
    return (await stock.resolve(resolution.os, top, resolution.asked, signal)).packages;
  } catch (error) {
    if (signal.aborted) throw error;
    return 'refused'; // some package of the image and one of the request do not go together
  }
}

/** Bytes that would be sent, by what each host has now; of a host that does not answer: as if it had nothing. */
async function wireTo(distributor: Distributor, hosts: readonly ChosenHost[], signal: AbortSignal): Promise<SiteWork['wire']> {
  const held = await Promise.all(hosts.map((host) => distributor.held(host.transport, signal).catch(() => ({ digests: new Set<string>(), links: false }))));
  return (layers, fresh) =>
    held.filter(({ links }) => !links).reduce((sum, { digests }) => sum + fresh + layers.reduce((bytes, layer) => bytes + (digests.has(layer.digest) ? 0 : layer.bytes), 0), 0);
}

/** Nodes that would install side by side on one processor; nothing if nodes here cannot say when they have done so, or are too small. */
function nodeLoad(asked: Asked, hosts: readonly ChosenHost[], resolution: Resolution): { nodeLoad?: number } {
  const megabytes = resolution.packages.reduce((sum, { debBytes }) => sum + debBytes, 0) / 1e6;
  const able = hosts.length > 0 && hosts.every((host) => host.driver.console !== undefined);
  if (!able || asked.memory < leastNodeMemory || asked.disk < 300 + diskPerDeb * megabytes) return {};
  return { nodeLoad: Math.max(1, asked.nodes / hosts.length / Math.max(1, hosts[0]?.vcpus ?? 1)) };
}
