/**
 * What a head remembers of a part: its state, plan, nodes, timings and events, all in Postgres; the
 * keys of its nodes in a 0600 file. Waiters on events are woken in this process; rows are the truth.
 */
import { EventEmitter } from 'node:events';
import { GridError } from '../domain/error.js';
import { checkTransition, isFurther, type ClusterState } from '../domain/lifecycle.js';
import type { PartSpec } from '../domain/node.js';
import type { SitePlan } from '../domain/plan.js';
import type { EventView } from '../domain/views.js';
import type { MeasuredStage, PartNodeView, PartView } from '../ports.js';
import type { Database } from '../store/database.js';
import type { SecretFiles } from '../store/secrets.js';
import type { Layer, PackageTiming } from '../domain/image.js';

export interface PlacedNode {
  readonly name: string;
  readonly host: string;
  /** Private address at the site. */
  readonly address: string;
}

/** Under which conditions a stage ran; absent: nothing before it, alone, on the head, for this request. */
export interface Conditions {
  /** Packages above the base before an installation. */
  readonly installed?: number;
  /** Builds and launches on the head at once, this one too; of an installation in nodes: nodes. */
  readonly concurrency?: number;
  /** Of one processor of the head, 1 = the reference. */
  readonly speed?: number;
  /** It was built for another request, whose row is learned from. */
  readonly shared?: boolean;
  readonly place?: 'head' | 'nodes';
  /** Of an installation in nodes: seconds that the head would take, times the nodes that share a processor. */
  readonly expected?: number;
  /** One node's own; the whole part's row has none. */
  readonly node?: string;
}

/** A node as its row tells it. */
export interface PartNode extends PlacedNode {
  readonly state: PartNodeView['state'];
  readonly reason: string | null;
  /** How often it was made again. */
  readonly replaced: number;
}

interface RequestRow {
  cluster: string;
  state: ClusterState;
  reason: string | null;
  plan: SitePlan | null;
  expires: Date;
  asked: { nodes: number };
}

export class Parts {
  private readonly news = new EventEmitter().setMaxListeners(0);
  /** Events of one cluster are numbered one after the other. */
  private readonly writing = new Map<string, Promise<unknown>>();

  constructor(
    private readonly site: string,
    private readonly db: Database,
    private readonly secrets: SecretFiles<PartSpec>,
  ) {}

  /** Stores a new part with its nodes' hosts and addresses; false if it was there already. */
  async insert(spec: PartSpec, place: (tx: Database) => Promise<readonly PlacedNode[]>): Promise<boolean> {
    await this.secrets.write(spec.cluster, spec);
    const { memory, disk, vcpus, os, packages, bundles, exact = false, minCount } = spec;
    const asked = JSON.stringify({ memory, disk, vcpus, os, packages, bundles, exact, minCount, nodes: spec.nodes.length });
    try {
      return await this.db.transaction(async (tx) => {
        await tx.rows('lockHosts');
        const inserted = await tx.row('insertRequest', spec.cluster, spec.owner, asked, new Date(spec.expires));
        if (inserted === undefined) return false;
        for (const node of await place(tx)) await tx.rows('insertNode', spec.cluster, node.name, node.host, node.address, memory, disk, vcpus);
        return true;
      });
    } catch (error) {
      await this.secrets.remove(spec.cluster);
      throw error;
    }
  }

  spec(cluster: string): Promise<PartSpec | undefined> {
    return this.secrets.read(cluster);
  }

  async state(cluster: string): Promise<ClusterState | undefined> {
    return (await this.db.row<RequestRow>('request', cluster))?.state;
  }

  /** `not-found` names the cluster. */
  async view(cluster: string): Promise<PartView> {
    const row = await this.db.row<RequestRow>('request', cluster);
    if (row === undefined) throw new GridError('not-found', `site ${this.site} has no part of cluster ${cluster}`);
    const [nodes, measured] = await Promise.all([this.nodes(cluster), this.db.rows<MeasuredStage>('timingsOf', cluster)]);
    const plan = { site: this.site, nodes: row.asked.nodes, stages: [], predicted: 0, reason: 'not planned yet', alternatives: [], ...row.plan };
    return { cluster, state: row.state, ...(row.reason === null ? {} : { reason: row.reason }), plan, measured, nodes: nodes.map(viewNode) };
  }

  async nodes(cluster: string): Promise<readonly PartNode[]> {
    return this.db.rows('nodesOf', cluster);
  }

  unfinished(): Promise<readonly { cluster: string; state: ClusterState }[]> {
    return this.db.rows('unfinishedRequests');
  }

  expired(now: Date): Promise<readonly { cluster: string }[]> {
    return this.db.rows('expiredRequests', now);
  }

  /** On the way up: to `to`, unless a resumed part is there or further already. */
  async advance(cluster: string, to: ClusterState): Promise<void> {
    const state = await this.state(cluster);
    if (state !== undefined && isFurther(state, to)) return;
    await this.become(cluster, to);
  }

  /** One step of the lifecycle; refuses one that the diagram does not have. Staying where it is changes nothing. */
  async become(cluster: string, to: ClusterState, reason?: string): Promise<void> {
    const changed = await this.db.transaction(async (tx) => {
      const row = await tx.row<{ state: ClusterState }>('requestForUpdate', cluster);
      if (row === undefined) throw new GridError('not-found', `site ${this.site} has no part of cluster ${cluster}`);
      if (row.state === to) return false;
      checkTransition(`the part of cluster ${cluster} at ${this.site}`, row.state, to);
      await tx.rows('setState', cluster, to, reason ?? null);
      return true;
    });
    if (changed) await this.event(cluster, to === 'failed' ? 'error' : 'state', reason === undefined ? to : `${to}: ${reason}`);
  }

  async setPlan(cluster: string, plan: SitePlan, image: string): Promise<void> {
    await this.db.rows('setPlan', cluster, JSON.stringify(plan), image);
  }

  /** What the nodes stand on: these layers stay while the part lives. Those of an earlier try stay, too. */
  async standsOn(cluster: string, layers: readonly string[]): Promise<void> {
    await this.db.rows('addRequestLayers', cluster, layers);
  }

  async setExpires(cluster: string, expires: Date): Promise<void> {
    await this.db.rows('setExpires', cluster, expires);
  }

  async setNode(cluster: string, node: string, state: PartNodeView['state'], reason?: string): Promise<void> {
    await this.db.soon.rows('setNodeState', cluster, node, state, reason ?? null);
    await this.event(cluster, state === 'failed' ? 'error' : 'node', reason === undefined ? state : `${state}: ${reason}`, node);
  }

  /** Notes that a node is made again. @returns for the how manieth time */
  async replacing(cluster: string, node: string): Promise<number> {
    return (await this.db.row<{ replaced: number }>('replaceNode', cluster, node))?.replaced ?? 0;
  }

  /** What the part's nodes are made of, lowest first; undefined before they are. */
  async imageOf(cluster: string): Promise<readonly Layer[] | undefined> {
    return (await this.db.row<{ image: readonly Layer[] | null }>('nodeImage', cluster))?.image ?? undefined;
  }

  async setImage(cluster: string, layers: readonly Layer[]): Promise<void> {
    await this.db.rows('setNodeImage', cluster, JSON.stringify(layers));
  }

  async gone(cluster: string): Promise<void> {
    await this.db.rows('allNodesGone', cluster);
    await this.secrets.remove(cluster);
  }

  /** Measured seconds, beside what the plan had predicted for that stage. */
  async measured(cluster: string, stage: MeasuredStage, started: Date, conditions: Conditions = {}): Promise<void> {
    const { node = '', installed = 0, concurrency = 1, speed = null, shared = false, place = 'head', expected = null } = conditions;
    const plan = (await this.db.row<RequestRow>('request', cluster))?.plan;
    const predicted = plan?.stages.find((planned) => planned.stage === stage.stage)?.predicted ?? null;
    await this.db.soon.rows('insertTiming', cluster, node, stage.stage, stage.bytes, stage.items, started, stage.seconds, predicted, installed, concurrency, speed, shared, place, expected);
    if (node === '') await this.event(cluster, 'stage-done', `${stage.stage} ${stage.seconds.toFixed(2)} s`);
  }

  async packageTimings(cluster: string, timings: readonly PackageTiming[]): Promise<void> {
    if (timings.length === 0) return;
    const column = <K extends keyof PackageTiming>(key: K): PackageTiming[K][] => timings.map((timing) => timing[key]);
    await this.db.soon.rows('insertPackageTimings', cluster, column('package'), column('version'), column('phase'), column('seconds'), column('bytes'), column('files'));
  }

  /** What the cache made in idle time: it teaches the clock like any build. */
  async madeInIdle(stages: readonly MeasuredStage[], timings: readonly PackageTiming[], conditions: Conditions): Promise<void> {
    const name = `idle-${Date.now().toString(36)}-${Math.trunc(Math.random() * 1e6)}`;
    await this.packageTimings(name, timings);
    for (const { stage, bytes, items, seconds } of stages) {
      await this.db.soon.rows('insertTiming', name, '', stage, bytes, items, new Date(Date.now() - seconds * 1000), seconds, null, conditions.installed ?? 0, conditions.concurrency ?? 1, conditions.speed ?? null, false, 'head', null);
    }
  }

  event(cluster: string, kind: EventView['kind'], text: string, node = ''): Promise<void> {
    const written = (this.writing.get(cluster) ?? Promise.resolve())
      .catch(() => {})
      .then(() => this.db.soon.rows('insertEvent', cluster, node, kind, text))
      .then(() => void this.news.emit(cluster));
    this.writing.set(cluster, written);
    void written.catch(() => {}).then(() => this.writing.get(cluster) === written && this.writing.delete(cluster));
    return written;
  }

  /** Events after `after`; waits up to `seconds` for the first. */
  async events(cluster: string, after: number, seconds: number): Promise<readonly EventView[]> {
    let wake = (): void => {};
    const news = new Promise<void>((resolve) => (wake = resolve));
    this.news.once(cluster, wake); // before the first look: nothing comes in between unseen
    const late = setTimeout(wake, seconds * 1000);
    try {
      const ready = await this.readEvents(cluster, after);
      if (ready.length > 0 || seconds <= 0) return ready;
      await news;
      return await this.readEvents(cluster, after);
    } finally {
      clearTimeout(late);
      this.news.off(cluster, wake);
    }
  }

  private async readEvents(cluster: string, after: number): Promise<readonly EventView[]> {
    const rows = await this.db.rows<Omit<EventView, 'at' | 'site'> & { at: Date }>('eventsAfter', cluster, after);
    return rows.map((row) => ({ ...row, at: row.at.toISOString(), site: this.site }));
  }
}

function viewNode(node: PartNode): PartNodeView {
  return { name: node.name, host: node.host, state: node.state, ...(node.reason === null ? {} : { reason: node.reason }) };
}
