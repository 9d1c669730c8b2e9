/** What nodes and hubs leave behind when their keepers were killed: found and removed by the code that made them. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Hub } from '../../../gatekeeper/hub/hub.js';
import { isName } from '../../domain/names.js';
import { ContainerDriver } from '../../hypervisor/container.js';
import { LocalTransport } from '../../node/local.js';
import { lan, type GridLayout, type SiteLayout } from './layout.js';

/** Removes every node of this grid from the site's host. @returns "n1 of c1a2b3c4" each */
export async function removeNodes(site: SiteLayout): Promise<string[]> {
  const home = site.host;
  if (!existsSync(join(home, 'nodes'))) return [];
  const netns = existsSync(`/run/netns/${site.netns}`) ? { netns: site.netns } : {}; // gone after a reboot, as are the nodes' links
  const driver = new ContainerDriver({ transport: new LocalTransport({ host: site.site, ...netns }), home, network: { bridge: lan.bridge } });
  const nodes = await driver.list();
  await Promise.all(nodes.map(({ id }) => driver.remove(id)));
  return nodes.map(({ id }) => `${id.node} of ${id.cluster}`);
}

/** Ends every hub of this grid's gatekeeper. @returns "hub of c1a2b3c4" each */
export async function removeHubs(layout: GridLayout): Promise<string[]> {
  const home = join(layout.gatekeeper.home, 'state');
  const directory = join(home, 'hubs');
  const clusters = existsSync(directory) ? readdirSync(directory).filter((name) => isName('cluster', name)) : [];
  await Promise.all(clusters.map((cluster) => Hub.remove(cluster, home)));
  return clusters.map((cluster) => `hub of ${cluster}`);
}
