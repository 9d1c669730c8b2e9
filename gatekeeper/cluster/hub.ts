/** A cluster's hub, from the cluster's rows and material: started or adopted, and ended. */
import { GridError } from '../../src/domain/error.js';
import { overlayName } from '../hub/credentials.js';
import { Hub } from '../hub/hub.js';
import type { Job } from './job.js';

interface CertificateRow {
  readonly serial: string;
  readonly name: string;
  readonly kind: 'hub' | 'node' | 'profile';
  readonly address: string | null;
  readonly revoked: boolean;
}

/** Starts or adopts it; who may join and who is revoked comes from the rows. Repeatable. */
export async function startHub(job: Job): Promise<void> {
  const { id, tools, found } = job;
  const { material } = found;
  if (material === undefined) throw new GridError('internal', `cluster ${id} has no keys for its hub`);
  const rows = await tools.db.rows<CertificateRow>('certificates', id);
  const members = new Map(rows.flatMap((row) => (row.kind !== 'hub' && !row.revoked && row.address !== null ? [[row.name, row.address] as const] : [])));
  found.hub ??= await Hub.start(
    {
      cluster: id,
      port: material.port,
      block: material.block,
      ca: tools.overlay.issuer.certificate,
      certificate: material.hub.certificate,
      key: material.hub.key,
      clients: [...members].map(([name, address]) => ({ name: overlayName(name, id), address })),
      revoked: rows.filter((row) => row.revoked).map((row) => row.serial),
    },
    tools.home,
    tools.log,
  );
}

export async function stopHub({ id, tools, found }: Job): Promise<void> {
  if (found.hub) await found.hub.stop(tools.home);
  else await Hub.remove(id, tools.home);
  delete found.hub;
}
