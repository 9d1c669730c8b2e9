/** What nodes and hubs leave behind when their keepers were killed: found and removed by the code that made them. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Hub } from '../../../gatekeeper/hub/hub.js';
import { isName } from '../../domain/names.js';
import type { GridLayout } from './layout.js';

/** Ends every hub of this grid's gatekeeper. @returns their cluster ids */
export async function removeHubs(layout: GridLayout): Promise<string[]> {
  const home = join(layout.gatekeeper.home, 'state');
  const directory = join(home, 'hubs');
  const clusters = existsSync(directory) ? readdirSync(directory).filter((name) => isName('cluster', name)) : [];
  await Promise.all(clusters.map((cluster) => Hub.remove(cluster, home)));
  return clusters;
}
