/**
 * A node of a ready cluster that died and that its head made again (same name, addresses, certificate): it is met at the
 * hub and verified like a new one, and is ready again, or failed with a reason.
 */
import { GridError } from '../../src/domain/error.js';
import { overlayName } from '../hub/credentials.js';
import type { Job } from './job.js';
import { verifyNode } from './verify.js';

/** From the start of the machine to an answer over the overlay. */
const backSeconds = 180;

/** Begins to wait for it if the cluster is ready and the node was failed; returns at once. */
export async function awaitReturn(job: Job, site: string, name: string): Promise<void> {
  const { id, tools } = job;
  if ((await tools.records.owned(id))?.state !== 'ready') return;
  if ((await tools.db.row('nodeAgain', id, name)) === undefined) return;
  await tools.records.event(id, { kind: 'node', site, node: name, text: 'made again; waiting for it on the overlay' });
  meet(job, site, name).catch((error: unknown) => job.log.error({ node: name, err: error }, 'meeting a node that was made again ended badly'));
}

async function meet(job: Job, site: string, name: string): Promise<void> {
  const { id, tools, found, signal } = job;
  const { hub, material } = found;
  const node = material?.nodes.find((one) => one.name === name);
  if (hub === undefined || material === undefined || node === undefined) throw new GridError('internal', `cluster ${id} has no keys for ${name}`);
  try {
    // The hub may still show the dead one's connection, so only an answer counts.
    for await (const joined of hub.joined([{ name: overlayName(name, id), address: node.overlayAddress }], signal)) if (joined.name !== '') break;
    await verifyNode({ reach: hub, node, key: material.clusterKey, signal }, backSeconds);
    await tools.records.setNode(id, name, 'ready');
    await tools.records.event(id, { kind: 'node', site, node: name, text: 'verified again: it answers ping and ssh over the overlay' });
  } catch (error) {
    if (signal.aborted) return;
    const reason = `it was made again, but ${(error as Error).message}`;
    await tools.records.setNode(id, name, 'failed', { reason });
    await tools.records.event(id, { kind: 'error', site, node: name, text: reason });
  }
}
