/**
 * The head's service (wsdl/head.wsdl): every operation checks, writes a row, and returns; the work
 * goes on in one task per cluster (tasks.ts). Only the gatekeeper calls it.
 */
import { roomFor } from '../domain/capacity.js';
import { GridError } from '../domain/error.js';
import type { ClusterState } from '../domain/lifecycle.js';
import { checkName } from '../domain/names.js';
import type { PartSpec } from '../domain/node.js';
import type { SitePlan } from '../domain/plan.js';
import type { EventView, SiteSnapshot } from '../domain/views.js';
import type { HeadService, MeasuredStage, PartRequest, PartView } from '../ports.js';
import { openBundles, type HeadParts } from './bring-up.js';
import { choose } from './choice.js';
import { withDeadline } from './deadline.js';
import type { Tasks } from './tasks.js';

const planSeconds = 240; // a base image that is still being made may be waited for
const mostPoll = 60;
const consoleSeconds = 8;

export class Head implements HeadService {
  constructor(
    private readonly head: HeadParts,
    private readonly tasks: Tasks,
    private readonly releases: readonly string[],
    private readonly stopping: AbortSignal,
  ) {}

  async snapshot(): Promise<SiteSnapshot> {
    return { site: this.head.site, releases: this.releases, bundles: Object.keys(this.head.bundles).sort(), hosts: await this.head.hosts.capacities() };
  }

  async plan(request: PartRequest, nodes: number): Promise<SitePlan> {
    return withDeadline(planSeconds, this.stopping, (signal) => this.planUntil(signal, request, nodes));
  }

  private async planUntil(signal: AbortSignal, request: PartRequest, nodes: number): Promise<SitePlan> {
    const { hosts, bundles, stock, activity } = this.head;
    const end = activity.begin();
    const hold = stock.hold();
    try {
      const useful = (await hosts.capacities()).filter((host) => roomFor(request, host) > 0);
      const likely = useful.sort((a, b) => roomFor(request, b) - roomFor(request, a)).slice(0, nodes).map(({ host, vcpus }) => ({ ...hosts.get(host), vcpus }));
      const asked = { os: request.os, packages: openBundles(bundles, request), exact: request.exact === true, nodes, memory: request.memory, disk: request.disk };
      return (await choose(this.head, asked, likely, { signal, hold })).planned.plan;
    } finally {
      hold.release();
      end();
    }
  }

  async check(request: PartRequest): Promise<void> {
    await this.head.stock.checkNames(request.os, openBundles(this.head.bundles, request));
  }

  async createPart(spec: PartSpec): Promise<PartView> {
    const { parts, hosts } = this.head;
    checkSpec(spec);
    openBundles(this.head.bundles, spec);
    if ((await parts.state(spec.cluster)) === undefined) {
      const names = spec.nodes.map((node) => node.name);
      if (await parts.insert(spec, (tx) => hosts.place(tx, names, spec))) this.tasks.up(spec.cluster);
    }
    return parts.view(spec.cluster);
  }

  getPart(cluster: string): Promise<PartView> {
    return this.head.parts.view(cluster);
  }

  async awaitPartEvents(cluster: string, after: number, seconds: number): Promise<readonly EventView[]> {
    await this.known(cluster);
    return this.head.parts.events(cluster, after, Math.min(Math.max(seconds, 0), mostPoll));
  }

  async confirmPart(cluster: string, stages: readonly MeasuredStage[], readyNodes: readonly string[]): Promise<PartView> {
    const { parts } = this.head;
    const state = await this.known(cluster);
    if (state === 'ready') return parts.view(cluster);
    const begun = Date.now();
    for (const stage of stages) await parts.measured(cluster, stage, new Date(begun - stage.seconds * 1000));
    for (const node of await parts.nodes(cluster)) {
      if (!readyNodes.includes(node.name) && node.state === 'running') await parts.setNode(cluster, node.name, 'failed', 'did not answer over the overlay');
    }
    await parts.become(cluster, 'ready');
    return parts.view(cluster);
  }

  async extendPart(cluster: string, expires: number): Promise<PartView> {
    const state = await this.known(cluster);
    if (state === 'destroying' || state === 'destroyed' || state === 'failed') {
      throw new GridError('wrong-state', `the part of cluster ${cluster} at ${this.head.site} is ${state}; only a living one can be extended`);
    }
    await this.head.parts.setExpires(cluster, new Date(expires));
    return this.head.parts.view(cluster);
  }

  async nodeConsole(cluster: string, node: string): Promise<string> {
    await this.known(cluster);
    const placed = (await this.head.parts.nodes(cluster)).find(({ name }) => name === node);
    if (placed === undefined) throw new GridError('not-found', `cluster ${cluster} has no node ${JSON.stringify(node.slice(0, 20))} at ${this.head.site}`);
    const reading = this.head.hosts.get(placed.host).driver.console?.({ cluster, node }).catch(() => '') ?? Promise.resolve('');
    return withDeadline(consoleSeconds, this.stopping, (signal) => Promise.race([reading, new Promise<string>((resolve) => signal.addEventListener('abort', () => resolve(''), { once: true }))]));
  }

  async destroyPart(cluster: string): Promise<PartView> {
    const state = await this.head.parts.state(checkName('cluster', cluster));
    if (state === undefined) return { cluster, state: 'destroyed', plan: { site: this.head.site, nodes: 0, stages: [], predicted: 0, reason: 'never made here', alternatives: [] }, measured: [], nodes: [] };
    await this.tasks.down(cluster);
    return this.head.parts.view(cluster);
  }

  private async known(cluster: string): Promise<ClusterState> {
    const state = await this.head.parts.state(checkName('cluster', cluster));
    if (state === undefined) throw new GridError('not-found', `site ${this.head.site} has no part of cluster ${cluster}`);
    return state;
  }
}

/** The gatekeeper is trusted, its fields still reach command lines: each name is checked again here. */
function checkSpec(spec: PartSpec): void {
  checkName('cluster', spec.cluster);
  checkName('os', spec.os);
  for (const node of spec.nodes) checkName('node', node.name);
  for (const name of spec.packages) checkName('package', name);
  for (const name of spec.bundles) checkName('bundle', name);
  for (const file of spec.files) checkName('path', file.path);
  if (spec.nodes.length === 0) throw new GridError('bad-request', 'a part needs at least one node');
  if (new Set(spec.nodes.map((node) => node.name)).size !== spec.nodes.length) throw new GridError('bad-request', 'a node name is there twice');
}
