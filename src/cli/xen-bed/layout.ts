/** Names, addresses and files of the Xen test bed: two emulated machines on one bridge in a network namespace. Pure. */
import { join } from 'node:path';

/** The second half of the RFC 2544 benchmark range: no real network of the machine uses it. */
export const bedNetwork = {
  netns: 'gvxen-bed',
  bridge: 'bed0',
  bridgeAddress: '02:67:c6:13:4d:01',
  /** Root-side end of the uplink, its peer in the namespace, and their addresses. */
  link: 'gvxen0',
  peer: 'wan0',
  rootAddress: '198.19.78.1',
  peerAddress: '198.19.78.2',
  linkPrefix: 30,
  subnet: '198.19.77.0/24',
  prefix: 24,
  gateway: '198.19.77.1',
} as const;

/** Bridge in every dom0 that its real link and the domains' interfaces are ports of. */
export const domainBridge = 'xenbr0';

export interface Dom0Layout {
  readonly name: string;
  readonly address: string;
  readonly tap: string;
  /** Hardware addresses of QEMU's network card and of the bridge in the dom0. */
  readonly mac: string;
  readonly bridgeMac: string;
  /** Addresses that nodes on this host may get. */
  readonly first: string;
  readonly last: string;
  readonly console: string;
  readonly monitor: string;
  readonly pid: string;
  readonly seed: string;
}

export interface BedLayout {
  readonly dir: string;
  readonly lock: string;
  readonly disks: string;
  readonly key: string;
  readonly knownHosts: string;
  readonly dom0s: readonly Dom0Layout[];
}

/** @param home the state directory; the bed is in xen-bed under it */
export function bedLayout(home: string): BedLayout {
  const dir = join(home, 'xen-bed');
  const run = join(dir, 'run');
  return {
    dir,
    lock: join(dir, 'lock'),
    disks: join(dir, 'disks'),
    key: join(run, 'key'),
    knownHosts: join(run, 'known_hosts'),
    dom0s: [1, 2].map((n) => ({
      name: `dom0-${n}`,
      address: `198.19.77.${10 + n}`,
      tap: `gvxtap${n}`,
      mac: `02:67:c6:13:4d:2${n}`,
      bridgeMac: `02:67:c6:13:4d:1${n}`,
      first: `198.19.77.${n * 100}`,
      last: `198.19.77.${n * 100 + 49}`,
      console: join(run, `dom0-${n}.console`),
      monitor: join(run, `dom0-${n}.monitor`),
      pid: join(run, `dom0-${n}.pid`),
      seed: join(run, `dom0-${n}.seed`),
    })),
  };
}
