/**
 * The paper's way of adding packages: every node installs the .debs that came with its layers when it boots, and says so on
 * its console (src/node/init.ts). Here the head waits for that, so that a failed package is a reason and not a silence.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { eachLimited } from '../domain/each-limited.js';
import { failedInstall, finishedInstall } from '../domain/node-console.js';
import { GridError } from '../domain/error.js';
import type { Hosts } from './hosts.js';
import type { Parts, PlacedNode } from './parts.js';

export interface InNodes {
  readonly parts: Parts;
  readonly hosts: Hosts;
  readonly cluster: string;
  readonly signal: AbortSignal;
}

const pollMs = 300;
const mostSeconds = 1800;

/** Waits until each of these running nodes has installed, or marks it failed. @returns seconds of each node that has, by its own clock */
export async function awaitInstalled(head: InNodes, nodes: readonly PlacedNode[]): Promise<readonly { node: string; seconds: number }[]> {
  const done: { node: string; seconds: number }[] = [];
  await eachLimited(nodes, 32, async (node) => {
    const outcome = await outcomeOf(head, node);
    if (typeof outcome === 'number') done.push({ node: node.name, seconds: outcome });
    else await head.parts.setNode(head.cluster, node.name, 'failed', outcome);
  });
  return done;
}

/** Seconds, or why it failed. */
async function outcomeOf({ hosts, cluster, signal }: InNodes, node: PlacedNode): Promise<number | string> {
  const driver = hosts.get(node.host).driver;
  const until = performance.now() + mostSeconds * 1000;
  for (let round = 0; performance.now() < until; round += 1) {
    if (signal.aborted) throw new GridError('interrupted', `cluster ${cluster} was destroyed while its nodes installed packages`);
    const text = (await driver.console?.({ cluster, node: node.name }).catch(() => '')) ?? '';
    const seconds = finishedInstall(text);
    if (seconds !== undefined) return seconds;
    const failure = failedInstall(text);
    if (failure !== undefined) return failure;
    if (round % 20 === 19 && (await stopped(driver, cluster, node.name))) return `stopped by itself while it installed packages${text === '' ? '' : `; console: ${text.trim().slice(-800)}`}`;
    await pause(pollMs);
  }
  return `its packages were not installed within ${mostSeconds} s`;
}

async function stopped(driver: { list(): Promise<readonly { id: { cluster: string; node: string }; state: string }[]> }, cluster: string, name: string): Promise<boolean> {
  const nodes = await driver.list().catch(() => undefined);
  return nodes !== undefined && !nodes.some(({ id, state }) => id.cluster === cluster && id.node === name && state === 'running');
}
