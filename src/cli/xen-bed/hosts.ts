/** The bed's dom0s as hosts of a head: the settings by which an administrator registers them. Pure but for reading the known keys. */
import { readFileSync } from 'node:fs';
import type { HostRegistration } from '../../domain/admin-views.js';
import type { XenBed } from './bed.js';
import { bedNetwork, domainBridge } from './layout.js';

/** Where the product keeps layers and nodes on the dom0s. */
export const hostHome = '/var/lib/gridvc/nodes';
/** MiB that a head may give away on each dom0: what Xen, dom0 and the tables of the domains leave. */
export const hostMemory = 832;

/** One for each dom0, in order. */
export function registrations(bed: XenBed): HostRegistration[] {
  const known = readFileSync(bed.layout.knownHosts, 'utf8').split('\n');
  return bed.dom0s.map(({ layout: { name, address, first, last } }) => ({
    name, address, port: 22, user: 'root', kind: 'xen', key: bed.layout.key, home: hostHome, memory: hostMemory,
    hostKey: known.find((line) => line.startsWith(`${address} `))?.slice(address.length + 1) ?? '',
    bridge: domainBridge, subnet: bedNetwork.subnet, gateway: bedNetwork.gateway, first, last,
  }));
}
