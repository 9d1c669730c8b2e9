/**
 * The bed's network: a namespace with a bridge for the machines' links, and an uplink to the root namespace, so that heads reach
 * the dom0s, and nodes on them the gatekeeper, while nothing else of the machine changes. Made anew each time.
 */
import { existsSync } from 'node:fs';
import { GridError } from '../../domain/error.js';
import type { RunOptions } from '../../ports.js';
import { runCommand } from '../../proc/command.js';
import { bedNetwork as net, type BedLayout } from './layout.js';

export async function raiseBedNetwork(layout: BedLayout): Promise<void> {
  await must(['ip', 'netns', 'add', net.netns]);
  await must(['ip', '-batch', '-'], {
    input: `link add name ${net.link} type veth peer name ${net.peer} netns ${net.netns}
addr add ${net.rootAddress}/${net.linkPrefix} dev ${net.link}
link set dev ${net.link} up
route add ${net.subnet} via ${net.peerAddress}
`,
  });
  const taps = layout.dom0s.map(({ tap }) => `tuntap add dev ${tap} mode tap\nlink set dev ${tap} master ${net.bridge} up\n`).join('');
  await must(['ip', '-n', net.netns, '-batch', '-'], {
    input: `link set dev lo up
addr add ${net.peerAddress}/${net.linkPrefix} dev ${net.peer}
link set dev ${net.peer} up
link add name ${net.bridge} address ${net.bridgeAddress} type bridge stp_state 0 forward_delay 0
addr add ${net.gateway}/${net.prefix} dev ${net.bridge}
link set dev ${net.bridge} up
${taps}route add default via ${net.rootAddress}
`,
  });
  await must(['nsenter', `--net=/run/netns/${net.netns}`, 'tee', '/proc/sys/net/ipv4/ip_forward'], { input: '1' });
}

/** Removes all of it; what is not there is no error. */
export async function dropBedNetwork(): Promise<void> {
  if ((await runCommand(['ip', 'link', 'show', 'dev', net.link])).code === 0) await must(['ip', 'link', 'delete', 'dev', net.link]);
  if (existsSync(`/run/netns/${net.netns}`)) await must(['ip', 'netns', 'delete', net.netns]);
}

/** Pids that live in the bed's namespace; none if there is no namespace. */
export async function bedProcesses(): Promise<number[]> {
  if (!existsSync(`/run/netns/${net.netns}`)) return [];
  const result = await runCommand(['ip', 'netns', 'pids', net.netns]);
  return result.stdout.split('\n').filter((line) => /^\d+$/.test(line)).map(Number);
}

async function must(argv: readonly string[], options: RunOptions = {}): Promise<void> {
  const result = await runCommand(argv, { seconds: 20, ...options });
  if (result.code !== 0) throw new GridError('unavailable', `the network of the Xen bed could not be made: ${result.reason}`, { hint: 'it needs root, iproute2 and /dev/net/tun: gridvc doctor' });
}
