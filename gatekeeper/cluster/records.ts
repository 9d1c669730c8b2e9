/**
 * What the gatekeeper knows of clusters: rows in Postgres, which are the truth, and an emitter that wakes long polls of
 * this process. Nothing here decides; bring-up.ts does.
 */
import { EventEmitter } from 'node:events';
import { GridError } from '../../src/domain/error.js';
import { checkTransition, clusterStates, type ClusterState } from '../../src/domain/lifecycle.js';
import { stages, type SitePlan, type Stage } from '../../src/domain/plan.js';
import type { ClusterRequest } from '../../src/domain/request.js';
import type { ClusterView, EventView, NodeView, StageView } from '../../src/domain/views.js';
import type { MeasuredStage, PartNodeView } from '../../src/ports.js';
import type { Database } from '../../src/store/database.js';

export interface ClusterRow {
  readonly id: string;
  readonly owner: string;
  readonly request: ClusterRequest;
  readonly state: ClusterState;
  readonly reason: string | null;
  readonly created: Date;
  readonly expires: Date;
  /** Certificates end no later: the end of the owner's proxy or delegation. */
  readonly until: Date;
}

export interface OwnedRow {
  readonly id: string;
  readonly owner: string;
  readonly state: ClusterState;
  readonly expires: Date;
  readonly until: Date;
  readonly lastEvent: number;
}

export interface PartRow {
  readonly site: string;
  readonly nodes: number;
  readonly state: 'placed' | 'created' | 'destroyed';
  readonly relayed: number;
  readonly plan: SitePlan | null;
}

export interface NodeRow {
  readonly number: number;
  readonly name: string;
  readonly site: string;
  readonly host: string;
  readonly address: string;
  readonly state: NodeView['state'];
}

export type NewEvent = Pick<EventView, 'kind' | 'text'> & Partial<Pick<EventView, 'site' | 'node' | 'at'>>;

const upwards: readonly ClusterState[] = clusterStates.slice(0, clusterStates.indexOf('ready') + 1);

const glanceMilliseconds = 50;
const mostGlances = 1000;

export class ClusterRecords {
  private readonly news = new EventEmitter().setMaxListeners(0);
  private readonly glances = new Map<string, { at: number; view: Promise<ClusterView | undefined> }>();

  constructor(readonly db: Database) {}

  async cluster(id: string): Promise<ClusterRow> {
    const row = await this.db.row<ClusterRow>('cluster', id);
    if (row === undefined) throw notFound(id);
    return row;
  }

  owned(id: string): Promise<OwnedRow | undefined> {
    return this.db.row<OwnedRow>('ownedCluster', id);
  }

  /** @param owner only if it is theirs */
  async view(id: string, owner?: string): Promise<ClusterView | undefined> {
    const row = await this.db.row<ViewRow>('clusterView', id, owner ?? null);
    return row && toView(row);
  }

  /**
   * The view for those who poll, of any owner: as it was at most 50 ms ago, and not before the last news of this cluster.
   * However many poll and however fast, it is one query (measured: two thirds of the cost of a getCluster).
   */
  async glance(id: string): Promise<ClusterView | undefined> {
    const now = Date.now();
    let kept = this.glances.get(id);
    if (kept === undefined || now - kept.at >= glanceMilliseconds) {
      if (this.glances.size >= mostGlances) this.glances.clear();
      kept = { at: now, view: this.view(id) };
      kept.view.catch(() => this.glances.delete(id)); // a failure is not kept
      this.glances.set(id, kept);
    }
    return kept.view;
  }

  /** Something of this cluster changed: wakes those who wait. */
  private tell(id: string): void {
    this.glances.delete(id);
    this.news.emit(id);
  }

  /** Living clusters and those that ended in the last week, oldest first. @param owner only theirs */
  async views(owner?: string): Promise<readonly ClusterView[]> {
    return (await this.db.rows<ViewRow>('clusterViews', owner ?? null)).map(toView);
  }

  parts(id: string): Promise<readonly PartRow[]> {
    return this.db.rows<PartRow>('parts', id);
  }

  nodes(id: string): Promise<readonly NodeRow[]> {
    return this.db.rows<NodeRow>('nodes', id);
  }

  /** One step of the lifecycle, with its event; refuses one that the diagram does not have. Staying changes nothing. */
  async become(id: string, to: ClusterState, reason?: string): Promise<void> {
    await this.db.transaction(async (tx) => {
      const from = await this.lockedState(tx, id);
      if (from === to) return;
      checkTransition(`cluster ${id}`, from, to);
      await this.enter(tx, id, to, reason);
    });
    this.tell(id);
  }

  /** Goes up to `to` through the states between; where the cluster is further, or on its way down, nothing happens. */
  async advance(id: string, to: ClusterState): Promise<void> {
    await this.db.transaction(async (tx) => {
      const from = upwards.indexOf(await this.lockedState(tx, id));
      if (from < 0) return;
      for (const state of upwards.slice(from + 1, upwards.indexOf(to) + 1)) await this.enter(tx, id, state);
    });
    this.tell(id);
  }

  async event(id: string, ...events: readonly NewEvent[]): Promise<void> {
    await append(this.db.soon, id, events);
    this.tell(id);
  }

  /** Takes a head's events over, each once, although the same batch may come twice. */
  async relay(id: string, site: string, events: readonly EventView[]): Promise<void> {
    const last = events.at(-1);
    if (last === undefined) return;
    await this.db.soon.transaction(async (tx) => {
      const moved = await tx.row('relayedTo', id, site, last.sequence);
      if (moved !== undefined) await append(tx, id, events.map((event) => ({ ...event, site })));
    });
    this.tell(id);
  }

  /** Events after `after`; waits up to `seconds` for the first one. */
  async awaitEvents(id: string, after: number, seconds: number): Promise<readonly EventView[]> {
    for (const deadline = Date.now() + seconds * 1000; ; ) {
      const news = this.nextNews(id, deadline - Date.now());
      try {
        const rows = await this.db.rows<Omit<EventView, 'at'> & { at: Date }>('eventsAfter', id, after);
        if (rows.length > 0 || Date.now() >= deadline) return rows.map((row) => ({ ...row, at: row.at.toISOString() }));
        await news.come;
      } finally {
        news.forget();
      }
    }
  }

  async warn(id: string, text: string): Promise<void> {
    await this.db.rows('addWarning', id, text);
    await this.event(id, { kind: 'warning', text });
  }

  /** True if the node really went forward to this state. */
  async setNode(id: string, node: string, state: NodeView['state'], more: { reason?: string; host?: string } = {}): Promise<boolean> {
    return (await this.db.soon.row('setNode', id, node, state, more.reason ?? null, more.host ?? null)) !== undefined;
  }

  async setHosts(id: string, nodes: readonly PartNodeView[]): Promise<void> {
    await this.db.rows('setHosts', id, nodes.map((node) => node.name), nodes.map((node) => node.host));
  }

  async setPlan(id: string, plan: SitePlan): Promise<void> {
    await this.db.rows('setPartPlan', id, plan.site, JSON.stringify(plan));
    await this.db.rows('planStages', id, plan.site, plan.stages.map((s) => s.stage), plan.stages.map((s) => stages.indexOf(s.stage)), plan.stages.map((s) => s.predicted ?? null));
  }

  async startStage(id: string, site: string, stage: Stage, at: Date): Promise<void> {
    await this.db.rows('startStage', id, site, stage, stages.indexOf(stage), at);
  }

  async endStage(id: string, site: string, measured: Pick<MeasuredStage, 'stage' | 'seconds'>): Promise<void> {
    await this.db.rows('endStage', id, site, measured.stage, stages.indexOf(measured.stage), measured.seconds);
  }

  /** Not AbortSignal.any over AbortSignal.timeout: Node 20 loses that timeout at a garbage collection. */
  private nextNews(id: string, milliseconds: number): { come: Promise<void>; forget(): void } {
    let forget = (): void => {};
    const come = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, milliseconds));
      this.news.once(id, resolve);
      forget = () => {
        clearTimeout(timer);
        this.news.off(id, resolve);
      };
    });
    return { come, forget };
  }

  private async lockedState(tx: Database, id: string): Promise<ClusterState> {
    const row = await tx.row<{ state: ClusterState }>('stateForUpdate', id);
    if (row === undefined) throw notFound(id);
    return row.state;
  }

  private async enter(tx: Database, id: string, state: ClusterState, reason?: string): Promise<void> {
    await tx.rows('setState', id, state, reason ?? null);
    await append(tx, id, [{ kind: state === 'failed' ? 'error' : 'state', text: reason === undefined ? state : `${state}: ${reason}` }]);
  }
}

/** The same words for an id that never was and for another owner's. */
export function notFound(id: string): GridError {
  return new GridError('not-found', `there is no cluster ${JSON.stringify(id.slice(0, 80))}`, { hint: 'listClusters (gridvc list) shows yours' });
}

async function append(db: Database, id: string, events: readonly NewEvent[]): Promise<void> {
  const now = new Date().toISOString();
  await db.rows('appendEvents', id, JSON.stringify(events.map(({ kind, text, site = '', node = '', at = now }) => ({ kind, text: text.slice(0, 4000), site, node, at }))));
}

interface ViewRow {
  readonly id: string;
  readonly owner: string;
  readonly state: ClusterState;
  readonly reason: string | null;
  readonly warnings: readonly string[];
  readonly created: Date;
  readonly readyAt: Date | null;
  readonly expires: Date;
  readonly count: number;
  readonly nodes: readonly (Omit<NodeView, 'reason'> & { reason: string | null })[];
  readonly stages: readonly { site: string; stage: Stage; predicted: number | null; seconds: number | null; running: number | null }[];
  readonly predicted: number;
}

function toView(row: ViewRow): ClusterView {
  return {
    id: row.id,
    owner: row.owner,
    state: row.state,
    ...(row.reason === null ? {} : { reason: row.reason }),
    count: row.count,
    ready: row.nodes.filter((node) => node.state === 'ready').length,
    created: row.created.toISOString(),
    ...(row.readyAt === null ? {} : { readyAt: row.readyAt.toISOString(), measuredSeconds: (row.readyAt.getTime() - row.created.getTime()) / 1000 }),
    expires: row.expires.toISOString(),
    predictedSeconds: row.predicted,
    stages: row.stages.map((stage) => toStage(stage, row.state)),
    nodes: row.nodes.map(({ reason, ...node }) => (reason === null ? node : { ...node, reason })),
    warnings: row.warnings,
  };
}

function toStage(row: ViewRow['stages'][number], state: ClusterState): StageView {
  const done = row.seconds !== null;
  const live = !done && row.running !== null && upwards.includes(state) && state !== 'ready';
  const elapsed = done ? row.seconds : live ? row.running : null;
  return { site: row.site, stage: row.stage, ...(row.predicted === null ? {} : { predicted: row.predicted }), ...(elapsed === null ? {} : { elapsed: Number(elapsed) }), done };
}
