/**
 * The story of a cluster, from accepted to ready, as a list of named steps with undo.
 *
 *   schedule   which site runs how many nodes
 *   allocate   the overlay's address block and the hub's UDP port
 *   issue      names, addresses, certificates, ssh keys: everything that is decided before a node boots
 *   start      the hub, and the parts at the heads, all at the same time
 *   gather     each node as it comes: joined, then verified; until all are there, or enough
 *   confirm    tell the heads who is verified
 *
 * Every step may run again after a crash and then does only what is left. When a step fails, and when the cluster is
 * destroyed, undo runs from the last step back to the first; it works from rows and files alone.
 */
import { GridError } from '../../src/domain/error.js';
import { blockOf, blockCount, type Block } from '../../src/overlay/addresses.js';
import { required } from '../schedule.js';
import { gatherNodes } from './gather.js';
import { startHub, stopHub } from './hub.js';
import type { Job } from './job.js';
import { makeMaterial, numberNodes, certificateEnd } from './material.js';
import { confirmParts, createParts, destroyParts } from './parts.js';
import { place, storeParts, tellPlacement } from './placement.js';
import { freePort } from './ports.js';
import { Roll } from './roll.js';

export interface Step {
  readonly name: string;
  run(job: Job): Promise<void>;
  undo(job: Job): Promise<void>;
}

const nothingToUndo = async (): Promise<void> => {};

export const steps: readonly Step[] = [
  { name: 'schedule', run: placeNodes, undo: nothingToUndo },
  { name: 'allocate', run: allocate, undo: release },
  { name: 'issue', run: issue, undo: revoke },
  { name: 'start', run: (job) => both(startHub(job), createParts(job)), undo: (job) => both(destroyParts(job), stopHub(job)) },
  { name: 'gather', run: gatherNodes, undo: nothingToUndo },
  { name: 'confirm', run: confirmParts, undo: nothingToUndo },
];

/** Runs the steps; throws the first failure and undoes nothing: the caller decides whether to (tasks.ts). */
export async function bringUp(job: Job): Promise<void> {
  for (const step of steps) {
    if (job.signal.aborted) throw new GridError('interrupted', `the bring-up of ${job.id} ended before ${step.name}`);
    const began = Date.now();
    await step.run(job);
    job.log.debug({ step: step.name, milliseconds: Date.now() - began }, 'step done');
  }
  await job.tools.records.advance(job.id, 'ready');
}

/** Undoes all steps, last first; all run, then the first failure is thrown. Repeatable. */
export async function takeDown(job: Job): Promise<void> {
  const failures: unknown[] = [];
  for (const step of [...steps].reverse()) await step.undo(job).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** Most clusters were placed before their creator had an answer (placement.ts). */
async function placeNodes({ id, tools }: Job): Promise<void> {
  if ((await tools.records.parts(id)).length > 0) return;
  const { request } = await tools.records.cluster(id);
  const placement = await place(request, tools.sites);
  await tools.db.transaction((tx) => storeParts(tx, id, placement.shares));
  await tellPlacement(tools.records, id, request, placement);
}

async function allocate({ id, tools }: Job): Promise<void> {
  const { pool, ports } = tools.overlay;
  if ((await tools.db.row('allocation', id)) !== undefined) return;
  await tools.db.transaction(async (tx) => {
    await tx.rows('lockAllocations');
    for (const taken: number[] = []; ; ) {
      const row = await tx.row<{ port: number }>('allocate', id, blockCount(pool), ports.first, ports.last, taken);
      if (row === undefined) throw new GridError('no-capacity', `no address block or no UDP port from ${ports.first} to ${ports.last} is free for another cluster`, { hint: 'widen overlay.ports or overlay.pool, or wait until clusters end' });
      if (await freePort(row.port)) return;
      taken.push(row.port);
    }
  });
}

/** Not while a site that is away may still run nodes with these addresses: undo comes again. */
async function release({ id, tools }: Job): Promise<void> {
  if ((await tools.records.parts(id)).some((part) => part.state === 'created')) return;
  await tools.db.rows('release', id);
}

async function issue(job: Job): Promise<void> {
  const { id, tools, found } = job;
  const [cluster, parts, kept] = await Promise.all([tools.records.cluster(id), tools.records.parts(id), tools.secrets.read(id)]);
  const place = await allocation(job);
  const nodes = numberNodes(parts.map(({ site, nodes: count }) => ({ site, nodes: count })), place.block);
  found.roll = new Roll(nodes, Math.min(nodes.length, required(cluster.request)));
  if (kept !== undefined) {
    found.material = kept;
    return;
  }
  if (parts.some((part) => part.state === 'created')) throw new GridError('internal', `the keys of cluster ${id} are gone from this gatekeeper`);
  const hubNotAfter = new Date(cluster.created.getTime() + tools.longestLease * 60_000);
  const material = await makeMaterial(cluster, { ...place, nodes, hubNotAfter }, tools.overlay);
  await tools.db.transaction(async (tx) => {
    await tx.rows('insertNodes', id, nodes.map((n) => n.number), nodes.map((n) => n.name), nodes.map((n) => n.site), nodes.map((n) => n.address));
    await tx.rows('insertCertificates', id, 'hub', '', hubNotAfter, [material.hub.serial], ['hub'], [null]);
    await tx.rows('insertCertificates', id, 'node', cluster.owner, certificateEnd(cluster), material.nodes.map((n) => n.serial), material.nodes.map((n) => n.name), material.nodes.map((n) => n.overlayAddress));
  });
  await tools.secrets.write(id, material); // last: material that exists has its rows
  found.material = material;
}

async function revoke({ id, tools }: Job): Promise<void> {
  await tools.db.rows('revokeCertificates', id);
  await tools.db.rows('nodesGone', id);
  await tools.secrets.remove(id);
}

/** The cluster's block and port; `internal` if it has none. */
export async function allocation({ id, tools }: Pick<Job, 'id' | 'tools'>): Promise<{ block: Block; port: number }> {
  const row = await tools.db.row<{ block: number; port: number }>('allocation', id);
  if (row === undefined) throw new GridError('internal', `cluster ${id} has no addresses`);
  return { block: blockOf(tools.overlay.pool, row.block), port: row.port };
}

/** Both to their end, whatever the other does; then the first failure is thrown. */
async function both(...work: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
