/** The network namespace of one cluster on the gatekeeper: it holds the hub's tun device and nothing else. */
import { stat } from 'node:fs/promises';
import { GridError } from '../../src/domain/error.js';
import { runCommand } from '../../src/proc/command.js';

export function namespaceOf(cluster: string): string {
  return `gv-${cluster}`;
}

export function deviceOf(cluster: string): string {
  return `gvh-${cluster}`; // 12 characters: link names end at 15
}

/** Words before a command that runs in the cluster's namespace. */
export function inNamespace(cluster: string): readonly string[] {
  return ['nsenter', `--net=/run/netns/${namespaceOf(cluster)}`];
}

/** Makes it, if it is not there. */
export async function addNamespace(cluster: string): Promise<void> {
  if (await exists(`/run/netns/${namespaceOf(cluster)}`)) return;
  await ip(['netns', 'add', namespaceOf(cluster)]);
}

/** Repeatable. */
export async function removeNamespace(cluster: string): Promise<void> {
  const path = `/run/netns/${namespaceOf(cluster)}`;
  if (!(await exists(path))) return;
  const removed = await runCommand(['ip', 'netns', 'del', namespaceOf(cluster)], { seconds: 10 });
  if (removed.code !== 0 && (await exists(path))) throw new GridError('internal', `the hub's namespace could not be removed: ${removed.reason}`);
}

/** True while the device is in the namespace where the gatekeeper runs. */
export function hasDevice(cluster: string): Promise<boolean> {
  return exists(`/sys/class/net/${deviceOf(cluster)}`);
}

/** Moves the hub's fresh tun device in and gives it its address. @param address "10.128.0.1/20" */
export async function adoptDevice(cluster: string, address: string): Promise<void> {
  const device = deviceOf(cluster);
  await ip(['link', 'set', device, 'netns', namespaceOf(cluster)]);
  await ip(
    ['-n', namespaceOf(cluster), '-batch', '-'],
    `link set lo up\nlink set ${device} addrgenmode none\naddr replace ${address} dev ${device}\nlink set ${device} up\n`,
  );
}

/** True if the device is in the namespace and has this address. */
export async function holdsDevice(cluster: string, address: string): Promise<boolean> {
  const shown = await runCommand(['ip', '-n', namespaceOf(cluster), '-o', '-4', 'addr', 'show', 'dev', deviceOf(cluster)]);
  return shown.code === 0 && shown.stdout.includes(` ${address} `);
}

async function ip(words: readonly string[], input?: string): Promise<void> {
  const result = await runCommand(['ip', ...words], { seconds: 10, ...(input === undefined ? {} : { input }) });
  if (result.code !== 0) throw new GridError('internal', `the hub's network could not be set up: ${result.reason}`, { hint: 'the gatekeeper needs root and iproute2' });
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
