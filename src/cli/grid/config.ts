/** The configuration files of the embedded grid's gatekeeper and heads, as data and then YAML. Pure but for `writeConfigs`. */
import { join } from 'node:path';
import { stringify } from 'yaml';
import { writeWhole } from '../files.js';
import { bundles } from './bundles.js';
import { gramPort, hubPorts, lan, overlayPool, subjects, wan, type GridLayout, type SiteLayout } from './layout.js';
import type { GridState } from './state.js';

/** MiB that a site may give to nodes, the Postgres URL of a database, and subjects that may command the heads besides root. */
export interface Resources {
  readonly administrators?: readonly string[];
  readonly memory: number;
  readonly database: (name: string) => string;
}

export function gatekeeperConfig(layout: GridLayout, resources: Resources): object {
  const { gatekeeper } = layout;
  return {
    listen: { host: '127.0.0.1', port: gatekeeper.port },
    gram: { host: '127.0.0.1', port: gramPort, name: 'localhost' },
    home: join(gatekeeper.home, 'state'),
    database: resources.database(gatekeeper.database),
    certificate: gatekeeper.certificate,
    key: gatekeeper.key,
    trust: layout.trust,
    gridmap: layout.gridmap,
    bans: layout.bans,
    roles: layout.roles,
    overlay: { address: wan.address, ports: { ...hubPorts }, ...overlayPool, ca: layout.overlayAuthority.certificate, caKey: layout.overlayAuthority.key },
    log: 'info',
  };
}

export function headConfig(layout: GridLayout, site: SiteLayout, resources: Resources): object {
  return {
    site: site.site,
    listen: { host: '127.0.0.1', port: site.port },
    home: join(site.home, 'state'),
    database: resources.database(site.database),
    certificate: site.certificate,
    key: site.key,
    trust: layout.trust,
    gatekeeper: subjects.gatekeeper,
    administrators: resources.administrators ?? [],
    releases: ['bookworm'],
    bundles,
    hosts: [
      {
        name: `${site.site}-host1`,
        kind: 'container',
        transport: { kind: 'local', netns: site.netns },
        home: site.host,
        network: { bridge: lan.bridge, subnet: lan.subnet, gateway: lan.gateway, first: lan.first, last: lan.last },
        memory: resources.memory,
      },
    ],
    log: 'info',
  };
}

/** Writes what the processes read. The user is administrator of their own grid. */
export function writeConfigs(layout: GridLayout, state: GridState, resources: Resources): void {
  writeWhole(layout.gridmap, `"${state.user}" ${state.account}\n`, 0o644);
  writeWhole(layout.roles, `"${state.user}" user,site-admin,grid-admin\n`, 0o644);
  writeWhole(layout.bans, '', 0o644);
  writeWhole(layout.gatekeeper.config, stringify(gatekeeperConfig(layout, resources)));
  for (const site of layout.sites) writeWhole(site.config, stringify(headConfig(layout, site, { ...resources, administrators: [state.user] })));
}
