/** Which node goes to which host, and what is left. Pure: the head locks, reads, decides here, writes. */
import { GridError } from './error.js';
import { formatAddress, parseAddress } from './ipv4.js';
import type { HostCapacity } from './views.js';

/** A vCPU is a share of a CPU, not a CPU: this many may sit on one (they are idle most of their time). */
export const vcpusPerCpu = 32;

export interface NodeSize {
  readonly memory: number; // MiB
  readonly disk: number; // MiB
  readonly vcpus: number;
}

/** How many nodes of `size` fit on `host` now. */
export function roomFor(size: NodeSize, host: HostCapacity): number {
  return Math.max(0, Math.min(Math.floor(host.freeMemory / size.memory), Math.floor(host.freeDisk / size.disk), Math.floor((host.vcpus * vcpusPerCpu) / size.vcpus)));
}

/**
 * Spreads `count` nodes over the hosts, always to the one with most room left, so that hosts fill evenly.
 * @returns one host name per node; `no-capacity` says what was asked and what is free
 */
export function assignHosts(count: number, size: NodeSize, hosts: readonly HostCapacity[]): readonly string[] {
  const room = hosts.map((host) => ({ host: host.host, left: roomFor(size, host) }));
  const total = room.reduce((sum, { left }) => sum + left, 0);
  if (total < count) throw new GridError('no-capacity', `asked ${count} nodes of ${size.memory} MiB memory and ${size.disk} MiB disk; there is room for ${total}`, { hint: describeHosts(hosts) });
  return Array.from({ length: count }, () => {
    const best = room.reduce((a, b) => (b.left > a.left ? b : a));
    best.left -= 1;
    return best.host;
  });
}

function describeHosts(hosts: readonly HostCapacity[]): string {
  if (hosts.length === 0) return 'no host is open and sound: see the head\'s log';
  return `free: ${hosts.map((h) => `${h.host} ${h.freeMemory} MiB memory, ${h.freeDisk} MiB disk`).join('; ')}`;
}

/** The first `count` free IPv4 addresses of first..last. `no-capacity` names the range. */
export function freeAddresses(count: number, range: { first: string; last: string }, used: ReadonlySet<string>): readonly string[] {
  const found: string[] = [];
  const [first, last] = [parseAddress(range.first), parseAddress(range.last)];
  if (first === undefined || last === undefined) throw new GridError('bad-request', `${range.first} to ${range.last} is not a range of IPv4 addresses`);
  for (let n = first; n <= last && found.length < count; n++) {
    const address = formatAddress(n);
    if (!used.has(address)) found.push(address);
  }
  if (found.length < count) throw new GridError('no-capacity', `asked ${count} addresses; only ${found.length} are free in ${range.first} to ${range.last}`, { hint: 'widen network.first and network.last in the head\'s configuration' });
  return found;
}
