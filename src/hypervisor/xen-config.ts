/** A domain's configuration for xl, from typed data only. Pure. */
import { GridError } from '../domain/error.js';
import { checkName } from '../domain/names.js';
import type { NodeDefinition } from '../domain/node.js';
import { checkNetwork, macOf } from './node-words.js';

export type DomainType = 'pv' | 'pvh';

/** Where things are on the dom0. */
export interface DomainPlace {
  /** Name of the domain. */
  readonly name: string;
  readonly home: string;
  readonly bridge: string;
  readonly vifScript: string;
  readonly type: DomainType;
}

/** xvda is the private disk; xvdb to xvdz are the layers, the kernel's first. */
const mostLayers = 25;
/** Debian's kernel, the initial RAM disk and the node's own programs do not fit into less. */
const leastMemory = 128; // MiB

/** Everything but the disks, whose loop devices are known only when it starts. */
export function domainConfig(node: NodeDefinition, place: DomainPlace): string {
  if (node.kernel === undefined) throw new GridError('internal', `node ${place.name} has no kernel`);
  if (node.layers.length + 1 > mostLayers) throw new GridError('bad-request', `node ${place.name} has ${node.layers.length} layers; a domain can have ${mostLayers - 1}`);
  if (node.memory < leastMemory) throw new GridError('bad-request', `node ${place.name}: ${node.memory} MiB memory is too little for a machine of its own; the least is ${leastMemory}`);
  const { address, gateway } = checkNetwork(node);
  const boot = `${place.home}/mnt/${checkName('digest', node.kernel)}/boot`;
  const layers = Array.from({ length: node.layers.length + 1 }, (_, i) => `xvd${String.fromCharCode('b'.charCodeAt(0) + i)}`);
  const commandLine = [
    'console=hvc0', 'quiet', 'net.ifnames=0',
    `gridvc.layers=${layers.join(',')}`, 'gridvc.disk=xvda', `gridvc.address=${address}`, `gridvc.gateway=${gateway}`, `gridvc.name=${checkName('node', node.id.node)}`,
  ];
  const settings: readonly (readonly [string, string | number])[] = [
    ['name', place.name],
    ['type', place.type],
    ['kernel', `${boot}/vmlinux`],
    ['ramdisk', `${boot}/initrd`],
    ['cmdline', commandLine.join(' ')],
    ['memory', Math.trunc(node.memory)],
    ['maxmem', Math.trunc(node.memory)],
    ['vcpus', Math.trunc(node.vcpus)],
    ...(['poweroff', 'reboot', 'crash', 'watchdog'] as const).map((end) => [`on_${end}`, 'preserve'] as const),
  ];
  return `${settings.map(([key, value]) => `${key} = ${typeof value === 'number' ? value : `"${value}"`}\n`).join('')}vif = [ 'mac=${macOf(address)},bridge=${place.bridge},script=${place.vifScript}' ]\n`;
}
