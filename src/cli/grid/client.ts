/** The client of the embedded grid's own gatekeeper, signed in by the grid's user certificate. */
import type { ClusterClient } from '../../soap/client.js';
import { readIdentity } from '../connect.js';
import type { GridLayout } from './layout.js';

export async function gridClient(layout: GridLayout): Promise<ClusterClient> {
  const tls = readIdentity({ kind: 'certificate', ...layout.user, from: 'the embedded grid' }, layout.trust);
  const { ClusterClient } = await import('../../soap/client.js');
  return new ClusterClient({ url: layout.gatekeeper.url, tls });
}
