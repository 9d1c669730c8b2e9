/**
 * A longer lease: the heads are told, and every node gets a certificate that lasts as long, for the key that it has,
 * written over ssh. openvpn in the node reads it when it next restarts or renegotiates; no connection is cut.
 */
import { eachLimited } from '../../src/domain/each-limited.js';
import { createPublicKey } from 'node:crypto';
import { issueCertificate } from '../../src/pki/issue.js';
import { nodeCertificatePath } from '../../src/overlay/client-config.js';
import { overlayName } from '../hub/credentials.js';
import type { Job } from './job.js';
import { certificateEnd, type Material } from './material.js';
import { extendParts } from './parts.js';
import { runInNode } from './verify.js';

const atOnce = 8;

/** Follows the cluster's row; what a node or a head does not take is a warning in the cluster's events. */
export async function renewLease(job: Job): Promise<void> {
  const { id, tools, found } = job;
  const cluster = await tools.records.cluster(id);
  const told = extendParts(job, new Date(cluster.expires)).catch((error: unknown) => tools.records.warn(id, `a site was not told of the new lease: ${(error as Error).message}`));
  const { material } = found;
  if (material === undefined) return told;
  const ready = new Set((await tools.records.nodes(id)).filter((node) => node.state === 'ready').map((node) => node.name));
  const late: string[] = [];
  await eachLimited(material.nodes.filter((node) => ready.has(node.name)), atOnce, async (node) => {
    await renewNode(job, material, node, cluster.owner, certificateEnd(cluster)).catch((error: unknown) => {
      job.log.warn({ node: node.name, err: error }, 'certificate not renewed');
      late.push(node.name);
    });
  });
  if (late.length > 0) await tools.records.warn(id, `the overlay certificates of ${late.join(', ')} were not renewed and end with the old lease`);
  await told;
}

async function renewNode(job: Job, material: Material, node: Material['nodes'][number], owner: string, notAfter: Date): Promise<void> {
  const { id, tools, found, signal } = job;
  if (found.hub === undefined) throw new Error('the hub is not running');
  const publicKey = createPublicKey(node.key).export({ type: 'spki', format: 'pem' }) as string;
  const issued = await issueCertificate({ issuer: tools.overlay.issuer, subject: owner, append: [id, overlayName(node.name, id)], publicKey, notAfter, usage: 'overlay-node' });
  await tools.db.rows('insertCertificates', id, 'node', owner, notAfter, [issued.serial], [node.name], [node.overlayAddress]);
  const line = `cat > ${nodeCertificatePath}.new && mv ${nodeCertificatePath}.new ${nodeCertificatePath}`;
  await runInNode({ reach: found.hub, node, key: material.clusterKey, signal }, { user: 'root', line, input: issued.certificate });
}
