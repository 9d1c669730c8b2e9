/**
 * Where everything of the embedded grid (`gridvc grid up`) lives: paths under GRIDVC_HOME/grid, ports,
 * addresses and link names. Pure; the only place that knows them.
 */
import { join } from 'node:path';
import { GridError } from '../../domain/error.js';
import { checkName } from '../../domain/names.js';

/** RFC 2544 benchmark range: no real network of the machine uses it. */
/** Bridges have addresses of their own: else they would take a port's, and change it as nodes come and go. */
export const wan = { bridge: 'gridvc-wan', bridgeAddress: '02:67:c6:12:00:01', address: '198.18.0.1', prefix: 24 } as const;
/** Both sites use the same private range: proof that only the overlay joins them. */
export const lan = { bridge: 'gvbr0', bridgeAddress: '02:67:c0:a8:4d:01', subnet: '192.168.77.0/24', gateway: '192.168.77.1', prefix: 24, first: '192.168.77.10', last: '192.168.77.250', uplink: 'wan0' } as const;
export const hubPorts = { first: 21000, last: 21999 } as const;
export const overlayPool = { pool: '10.128.0.0/10', prefix: 20 } as const;
const gatekeeperPort = 8443;
/** Of Globus clients: `globusrun -r localhost`. */
export const gramPort = 2119;
const firstHeadPort = 8451;

export const subjects = {
  authority: '/O=Grid/OU=gridvc/CN=gridvc CA',
  overlayAuthority: '/O=Grid/OU=gridvc/CN=gridvc overlay CA',
  gatekeeper: '/O=Grid/OU=gridvc/CN=gatekeeper',
  pattern: '/O=Grid/OU=gridvc/*',
} as const;

export interface ProcessLayout {
  readonly name: string;
  /** Module that runs it, relative to dist/. */
  readonly module: string;
  readonly home: string;
  readonly config: string;
  readonly certificate: string;
  readonly key: string;
  readonly pid: string;
  readonly log: string;
  readonly port: number;
  readonly url: string;
  readonly subject: string;
  readonly database: string;
}

export interface SiteLayout extends ProcessLayout {
  readonly site: string;
  readonly netns: string;
  /** Root-side end of the site's uplink. */
  readonly link: string;
  /** Where the site's only compute host keeps layers and nodes. */
  readonly host: string;
  /** The site's "public" address on the wan bridge. */
  readonly address: string;
}

export interface GridLayout {
  readonly dir: string;
  readonly state: string;
  readonly lock: string;
  readonly trust: string;
  readonly authority: { readonly certificate: string; readonly key: string };
  readonly overlayAuthority: { readonly certificate: string; readonly key: string };
  readonly user: { readonly certificate: string; readonly key: string; readonly proxy: string };
  readonly gridmap: string;
  readonly roles: string;
  readonly bans: string;
  readonly gatekeeper: ProcessLayout;
  readonly sites: readonly SiteLayout[];
}

/** @param home GRIDVC_HOME; @param sites names in order, 1 to 8 of them */
export function gridLayout(home: string, sites: readonly string[]): GridLayout {
  if (sites.length < 1 || sites.length > 8 || new Set(sites).size !== sites.length) {
    throw new GridError('bad-request', `the embedded grid takes 1 to 8 different sites, not "${sites.join(',')}"`, { hint: 'gridvc grid up --sites alpha,beta' });
  }
  const dir = join(home, 'grid');
  const pair = (name: string): { certificate: string; key: string } => ({ certificate: join(dir, 'pki', `${name}.pem`), key: join(dir, 'pki', `${name}.key`) });
  return {
    dir,
    state: join(dir, 'grid.json'),
    lock: join(dir, 'lock'),
    trust: join(dir, 'certificates'),
    authority: pair('ca'),
    overlayAuthority: pair('overlay-ca'),
    user: { certificate: join(dir, 'user', 'usercert.pem'), key: join(dir, 'user', 'userkey.pem'), proxy: join(dir, 'user', 'proxy.pem') },
    gridmap: join(dir, 'gatekeeper', 'grid-mapfile'),
    roles: join(dir, 'gatekeeper', 'roles'),
    bans: join(dir, 'gatekeeper', 'bans'),
    gatekeeper: process(dir, 'gatekeeper', 'gatekeeper/main.js', gatekeeperPort, subjects.gatekeeper),
    sites: sites.map((site, index) => siteLayout(dir, checkName('site', site), index)),
  };
}

function siteLayout(dir: string, site: string, index: number): SiteLayout {
  const head = process(dir, `head-${site}`, 'src/head/main.js', firstHeadPort + index, `/O=Grid/OU=gridvc/CN=head-${site}`);
  return {
    ...head,
    site,
    host: join(head.home, 'host1'),
    netns: `gridvc-${site}`,
    link: `gvw-${index + 1}`,
    address: `198.18.0.${11 + index}`,
  };
}

function process(dir: string, name: string, module: string, port: number, subject: string): ProcessLayout {
  const home = join(dir, name);
  return {
    name,
    module,
    home,
    config: join(home, 'config.yaml'),
    certificate: join(home, 'hostcert.pem'),
    key: join(home, 'hostkey.pem'),
    pid: join(dir, 'run', `${name}.pid`),
    log: join(dir, 'log', `${name}.log`),
    port,
    url: `https://127.0.0.1:${port}`,
    subject,
    database: name.replaceAll('-', '_'),
  };
}
