/**
 * ClusterService and NodeDialer: every operation checks who asks and what, writes or reads rows, and returns; the work
 * goes on in one task per cluster (cluster/tasks.ts). A grid-admin sees every cluster, others their own.
 */
import { createHash, randomInt } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { GridError } from '../src/domain/error.js';
import { isName } from '../src/domain/names.js';
import { predictedSeconds } from '../src/domain/plan.js';
import { checkRequest, type RequestLimits } from '../src/domain/request-check.js';
import type { ClusterRequest, RawRequest } from '../src/domain/request.js';
import type { AccessView, Caller, ClusterView, EventView, PlanView } from '../src/domain/views.js';
import { profileAddress, profileRoom } from '../src/overlay/addresses.js';
import { userProfile } from '../src/overlay/client-config.js';
import type { ClusterService, NodeDialer } from '../src/ports.js';
import type { Database } from '../src/store/database.js';
import { Authorizer } from './authorization/authorizer.js';
import type { Operation } from './authorization/operations.js';
import type { Holding } from './authorization/quotas.js';
import { issueClient, overlayName } from './hub/credentials.js';
import type { Tools } from './cluster/job.js';
import { certificateEnd, type Material } from './cluster/material.js';
import { checkCredential, leaseOf } from './cluster/lease.js';
import { placeNow, storeParts, tellPlacement, type Placement } from './cluster/placement.js';
import { notFound, type OwnedRow } from './cluster/records.js';
import { renewLease } from './cluster/renew.js';
import type { ClusterTasks } from './cluster/tasks.js';
import type { Delegations } from './delegations.js';
import { schedule } from './schedule.js';

const mostPoll = 60;
const mostFileBytes = 64 * 1024 * 1024;
const loginUser = 'grid';
const nothing: Holding = { clusters: 0, nodes: 0, memory: 0 };

export interface ClusterLimits extends RequestLimits {
  /** Of one owner, at one time. */
  readonly clustersPerOwner: number;
  readonly nodesPerOwner: number;
  /** MiB. */
  readonly memoryPerOwner?: number | undefined;
  /** Seconds that a credential must last beyond the estimated build; default 300. */
  readonly credentialMargin?: number;
}

export class Clusters implements ClusterService, NodeDialer {
  constructor(
    private readonly tools: Tools,
    private readonly tasks: ClusterTasks,
    private readonly delegations: Pick<Delegations, 'until'>,
    private readonly limits: ClusterLimits,
    private readonly authorizer: Authorizer = new Authorizer({}, tools.log),
  ) {}

  async plan(caller: Caller, raw: RawRequest): Promise<PlanView> {
    this.authorizer.check(caller, 'plan');
    const request = checkRequest(raw, this.limits);
    const shares = schedule(request, await this.tools.sites.known());
    const sites = await Promise.all(
      shares.map(async (share) => ({ ...(await (await this.tools.sites.head(share.site)).plan(request, share.nodes)), site: share.site })),
    );
    return { predictedSeconds: predictedSeconds(sites), sites };
  }

  async createCluster(caller: Caller, key: string, raw: RawRequest): Promise<ClusterView> {
    this.authorizer.check(caller, 'createCluster');
    if (!isName('idempotencyKey', key)) throw new GridError('bad-request', 'the idempotency key is not 1 to 128 printable ASCII characters', { hint: 'a random one per cluster, e.g. a UUID' });
    const request = checkRequest(raw, this.limits);
    const hash = createHash('sha256').update(JSON.stringify(request)).digest('hex');
    const earlier = await this.tools.db.row<{ id: string; requestHash: string }>('clusterByKey', caller.subject, key);
    const id = earlier === undefined ? await this.store(caller, key, request, hash) : this.same(earlier, hash, key);
    return this.view(id);
  }

  async getCluster(caller: Caller, id: string): Promise<ClusterView> {
    this.authorizer.check(caller, 'getCluster');
    const view = isName('cluster', id) ? await this.tools.records.glance(id) : undefined;
    const theirs = this.ownOnly(caller);
    if (view === undefined || (theirs !== undefined && view.owner !== theirs)) throw notFound(id);
    return view;
  }

  async listClusters(caller: Caller): Promise<readonly ClusterView[]> {
    this.authorizer.check(caller, 'listClusters');
    return this.tools.records.views(this.ownOnly(caller));
  }

  async awaitEvents(caller: Caller, id: string, after: number, seconds: number): Promise<readonly EventView[]> {
    await this.owned(caller, id, 'awaitEvents');
    return this.tools.records.awaitEvents(id, Math.max(0, Math.trunc(after) || 0), Math.min(Math.max(seconds || 0, 0), mostPoll));
  }

  async extendLifetime(caller: Caller, id: string, minutes: number): Promise<ClusterView> {
    const row = await this.owned(caller, id, 'extendLifetime');
    if (!Number.isInteger(minutes) || minutes < 1 || minutes > this.limits.lifetime) {
      throw new GridError('bad-request', `a lease of ${minutes} minutes is not possible`, { hint: `from 1 to ${this.limits.lifetime} minutes from now` });
    }
    if (row.state !== 'ready') throw new GridError('wrong-state', `cluster ${id} is ${row.state}; only a ready one can be extended`);
    const until = row.owner === caller.subject ? await this.delegations.until(caller) : row.until;
    const certificate = row.owner === caller.subject ? new Date(caller.certificateNotAfter) : until;
    const { asked, expires, warnings } = leaseOf(new Date(), minutes, { until, certificate });
    await this.tools.db.rows('setLease', id, expires, until, asked);
    await this.tools.records.event(id, { kind: 'state', text: `the lease ends ${expires.toISOString()}` });
    for (const warning of warnings) await this.tools.records.warn(id, warning);
    this.renew(id);
    return this.view(id);
  }

  async destroyCluster(caller: Caller, id: string): Promise<ClusterView> {
    await this.owned(caller, id, 'destroyCluster');
    await this.tasks.down(id);
    return this.view(id);
  }

  async getAccess(caller: Caller, id: string): Promise<AccessView> {
    const row = await this.owned(caller, id, 'getAccess');
    const material = row.state === 'ready' ? await this.tools.secrets.read(id) : undefined;
    if (material === undefined) throw new GridError('wrong-state', `cluster ${id} is ${row.state}; access is given when it is ready`);
    const [profile, view] = await Promise.all([this.makeProfile(caller, row, material), this.view(id)]);
    return { profile, hostfile: material.hostfile, knownHosts: material.knownHosts, loginUser, nodes: view.nodes };
  }

  async dial(caller: Caller, id: string, name: string): Promise<Duplex> {
    const row = await this.owned(caller, id, 'openTunnel');
    const node = isName('node', name) ? await this.tools.db.row<{ address: string; state: string }>('node', id, name) : undefined;
    if (node === undefined) throw new GridError('not-found', `cluster ${id} has no node ${JSON.stringify(name.slice(0, 20))}`);
    const hub = this.tasks.hub(id);
    if (node.state !== 'ready' || hub === undefined || row.state === 'destroying') throw new GridError('wrong-state', `node ${name} of ${id} is ${node.state}, the cluster is ${row.state}`, { hint: 'wait until it is ready' });
    return hub.dial(node.address);
  }

  private async store(caller: Caller, key: string, request: ClusterRequest, hash: string): Promise<string> {
    const created = new Date();
    const [until, placement] = await Promise.all([this.delegations.until(caller), placeNow(request, this.tools.sites), this.checkQuota(this.tools.db, caller, request), this.checkFiles(caller, request)]);
    await checkCredential(until, this.limits.credentialMargin, () => this.estimate(request, placement));
    const { asked, expires, warnings } = leaseOf(created, request.lifetime, { until, certificate: new Date(caller.certificateNotAfter) });
    const id = newId();
    const made = await this.tools.db.transaction(async (tx) => {
      await tx.rows('lockQuotas'); // of two at once, the second one sees the first
      await this.checkQuota(tx, caller, request);
      const row = await tx.row('insertCluster', id, caller.subject, key, hash, JSON.stringify(request), warnings, expires, until, created, caller.vo, asked);
      if (row !== undefined && placement !== undefined) await storeParts(tx, id, placement.shares);
      return row;
    });
    if (made === undefined) {
      const winner = await this.tools.db.row<{ id: string; requestHash: string }>('clusterByKey', caller.subject, key); // the same call came twice at once
      if (winner === undefined) throw new GridError('internal', 'a cluster row vanished');
      return this.same(winner, hash, key);
    }
    this.tools.log.info({ cluster: id, owner: caller.subject, nodes: request.count }, 'cluster accepted');
    if (placement !== undefined) await tellPlacement(this.tools.records, id, request, placement);
    this.tasks.up(id);
    return id;
  }

  private same(earlier: { id: string; requestHash: string }, hash: string, key: string): string {
    if (earlier.requestHash === hash) return earlier.id;
    throw new GridError('conflict', `the idempotency key ${key} was used for another request, cluster ${earlier.id}`, { hint: 'use a new key for a new cluster' });
  }

  /** Uploads must be there, and all files together small enough to travel in one document to each head. */
  private async checkFiles(caller: Caller, request: ClusterRequest): Promise<void> {
    const sizes = request.files.map(({ source }) => (source.kind === 'inline' ? Math.ceil(source.base64.length * 0.75) : this.tools.uploads.size(caller.subject, source.id)));
    const total = (await Promise.all(sizes)).reduce((sum, bytes) => sum + bytes, 0);
    if (total > mostFileBytes) throw new GridError('too-large', `the files of the request have ${total} bytes together, at most ${mostFileBytes} are possible`, { hint: 'fetch large data from the nodes, for instance by rsync over gridvc ssh' });
  }

  private async checkQuota(db: Database, caller: Caller, request: ClusterRequest): Promise<void> {
    const { count, memory } = request;
    const { clustersPerOwner, nodesPerOwner, memoryPerOwner } = this.limits;
    const limits = { clusters: clustersPerOwner, nodes: nodesPerOwner, ...(memoryPerOwner === undefined ? {} : { memory: memoryPerOwner }) };
    const owner = (await db.row<Holding>('usage', caller.subject)) ?? nothing;
    const vo = (caller.vo === '' ? undefined : await db.row<Holding>('usageOfVo', caller.vo)) ?? nothing;
    this.authorizer.checkQuota(caller, limits, { clusters: 1, nodes: count, memory: count * memory }, { owner, vo });
  }

  /** Seconds until ready, as the sites predict; undefined if they do not say. */
  private async estimate(request: ClusterRequest, placement: Placement | undefined): Promise<number | undefined> {
    if (placement === undefined) return undefined;
    const plans = placement.shares.map(async ({ site, nodes }) => (await this.tools.sites.head(site)).plan(request, nodes));
    return predictedSeconds(await Promise.all(plans));
  }

  /**
   * Gives leases that were cut to the end of their owner's credential what was asked, as far as a newer delegation lasts;
   * called now and then, and repeatable.
   */
  async followDelegations(): Promise<void> {
    for (const { id, expires } of await this.tools.db.rows<{ id: string; expires: Date }>('lengthenLeases')) {
      await this.tools.records.event(id, { kind: 'state', text: `a newer delegation lasts longer: the lease ends ${expires.toISOString()}` });
      this.renew(id);
    }
  }

  private renew(id: string): void {
    const job = this.tasks.job(id);
    if (job) void renewLease(job).catch((error: unknown) => job.log.error({ err: error }, 'renewing certificates failed'));
  }

  /** A fresh certificate for the caller, admitted by the hub at an address of its own. */
  private async makeProfile(caller: Caller, row: OwnedRow, material: Material): Promise<string> {
    const { db, overlay } = this.tools;
    const hub = this.tasks.hub(row.id);
    if (hub === undefined) throw new GridError('unavailable', `the hub of ${row.id} is not running yet`, { hint: 'try again in a few seconds' });
    const notAfter = certificateEnd(row);
    return db.transaction(async (tx) => {
      await tx.rows('stateForUpdate', row.id);
      const next = await tx.row<{ number: number | null }>('nextProfile', row.id, profileRoom);
      if (next?.number == null) throw new GridError('quota', `cluster ${row.id} has ${profileRoom} overlay profiles already`, { hint: 'use an earlier one' });
      const name = `u${next.number}`;
      const address = profileAddress(material.block, next.number);
      const client = await issueClient(overlay.issuer, { owner: caller.subject, cluster: row.id, name, notAfter });
      await tx.rows('insertCertificates', row.id, 'profile', caller.subject, notAfter, [client.serial], [name], [address]);
      await hub.admit({ name: overlayName(name, row.id), address });
      return userProfile(client, material.overlay);
    });
  }

  /** The row, if the caller may do this and see it; else the same answer as for one that does not exist. */
  private async owned(caller: Caller, id: string, operation: Operation): Promise<OwnedRow> {
    this.authorizer.check(caller, operation);
    const row = isName('cluster', id) ? await this.tools.records.owned(id) : undefined;
    if (row === undefined || (row.owner !== caller.subject && !this.authorizer.may(caller, 'anyOwner'))) throw notFound(id);
    return row;
  }

  /** The owner whose clusters the caller sees; undefined: all. */
  private ownOnly(caller: Caller): string | undefined {
    return this.authorizer.may(caller, 'anyOwner') ? undefined : caller.subject;
  }

  private async view(id: string): Promise<ClusterView> {
    const view = await this.tools.records.view(id);
    if (view === undefined) throw notFound(id);
    return view;
  }
}

function newId(): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  const all = `${letters}0123456789`;
  return letters[randomInt(26)] + Array.from({ length: 7 }, () => all[randomInt(36)]).join('');
}
