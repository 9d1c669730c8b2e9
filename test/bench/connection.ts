/** A client signed in as the embedded grid's user. */
import { gridLayout } from '../../src/cli/grid/layout.js';
import { gridClient } from '../../src/cli/grid/client.js';
import type { ClusterClient } from '../../src/soap/client.js';

export function connectTo(home: string): Promise<ClusterClient> {
  return gridClient(gridLayout(home, ['alpha', 'beta']));
}
