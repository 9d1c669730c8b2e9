/**
 * Gathers the nodes, as a stream without any barrier: the hub says who has joined, each is verified at once, and the
 * step ends when all are there or, if fewer will do, when nothing more is to be expected.
 */
import { GridError } from '../../src/domain/error.js';
import { overlayName } from '../hub/credentials.js';
import type { Job } from './job.js';
import type { Material } from './material.js';
import type { Roll } from './roll.js';
import { verifyNode } from './verify.js';

/** A node that runs has this long to join and answer. A dead one is known at once from its head; this is for the silent, and an emulated machine boots for minutes. */
const comeSeconds = 180;
const verifySeconds = 90;
const verifyAtOnce = 12; // more would only share the same processors
const lookMilliseconds = 500;

/** Resolves when enough nodes are verified; rejects with the first failure when they cannot be. */
export async function gatherNodes(job: Job): Promise<void> {
  const { id, tools, found, signal } = job;
  const { material, hub, roll } = found;
  if (material === undefined || hub === undefined || roll === undefined) throw new GridError('internal', `cluster ${id} cannot gather: a step before it is missing`);
  const over = new AbortController();
  const until = over.signal;
  const interrupt = (): void => over.abort();
  signal.addEventListener('abort', interrupt, { once: true });
  const interrupted = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(new GridError('interrupted', `cluster ${id} ends before its nodes are there`)), { once: true }));
  interrupted.catch(() => {});
  const given = new Set<string>();
  const clock = setInterval(() => void giveUpOn(job, roll, given).catch((error: unknown) => job.log.error({ err: error }, 'clock')), lookMilliseconds);
  try {
    const waiting = new Set(roll.waiting());
    const clients = material.nodes.filter((node) => waiting.has(node.name)).map((node) => ({ name: overlayName(node.name, id), address: node.overlayAddress }));
    const watching = (async () => {
      const turn = turns(verifyAtOnce);
      for await (const { name, at } of hub.joined(clients, until)) {
        const node = material.nodes.find((one) => overlayName(one.name, id) === name);
        if (node !== undefined && roll.joins(node.name, at)) void turn(() => welcome(job, material, node, until));
      }
    })();
    watching.catch((error: unknown) => job.log.error({ err: error }, 'watching the hub ended'));
    if (signal.aborted) throw new GridError('interrupted', `cluster ${id} ends before its nodes are there`);
    await Promise.race([roll.settled, interrupted]);
    await tools.records.advance(id, 'joining');
  } finally {
    over.abort();
    signal.removeEventListener('abort', interrupt);
    clearInterval(clock);
  }
}

/** A node has joined: verify it, and write down either outcome. */
async function welcome(job: Job, material: Material, node: Material['nodes'][number], signal: AbortSignal): Promise<void> {
  const { id, tools, found } = job;
  const { hub, roll } = found;
  if (hub === undefined || roll === undefined) return;
  try {
    await tools.records.setNode(id, node.name, 'joined');
    await verifyNode({ reach: hub, node, key: material.clusterKey, signal }, verifySeconds);
    const at = Date.now();
    await tools.records.setNode(id, node.name, 'ready');
    await tools.records.event(id, { kind: 'node', site: roll.siteOf(node.name), node: node.name, text: 'verified: it answers ping and ssh over the overlay' });
    roll.isReady(node.name, at);
  } catch (error) {
    if (signal.aborted) return;
    await fail(job, roll, node.name, (error as Error).message);
  }
}

/** Nodes that run, but have not come in time. */
async function giveUpOn(job: Job, roll: Roll, given: Set<string>): Promise<void> {
  for (const name of roll.overdue(Date.now(), comeSeconds)) {
    if (given.has(name)) continue; // its console is being read
    given.add(name);
    await fail(job, roll, name, `it runs, but was not verified over the overlay within ${comeSeconds} s${await lastWords(job, roll.siteOf(name), name)}`);
  }
}

/** The end of its console, as its head has it, so that the reason can be seen. */
async function lastWords(job: Job, site: string, name: string): Promise<string> {
  const head = await job.tools.sites.head(site).catch(() => undefined);
  const text = (await head?.nodeConsole(job.id, name).catch(() => undefined))?.trim().slice(-800);
  if (text === undefined) return '; its console could not be read';
  return text === '' ? '; its console is empty' : `; its console ends: ${text}`;
}

async function fail(job: Job, roll: Roll, name: string, reason: string): Promise<void> {
  const { records } = job.tools;
  if (await records.setNode(job.id, name, 'failed', { reason })) await records.event(job.id, { kind: 'error', site: roll.siteOf(name), node: name, text: reason });
  roll.fails(name, reason);
}

/** Runs what it is given, at most `limit` at a time, in order. */
function turns(limit: number): (work: () => Promise<void>) => Promise<void> {
  let running = 0;
  const queue: (() => void)[] = [];
  return async (work) => {
    if (running >= limit) await new Promise<void>((go) => queue.push(go));
    running++;
    try {
      await work();
    } finally {
      running--;
      queue.shift()?.();
    }
  };
}
