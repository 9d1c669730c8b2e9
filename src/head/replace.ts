/**
 * Nodes that died while their cluster was ready. The request's policy is in the part's minCount (all: every node; minimum and
 * any: fewer): while fewer nodes run than that, a dead one is made again with the same name, addresses, certificate and
 * keys, on the same host, on a new disk. What is to be done follows from the rows, so a restarted head goes on with it.
 */
import type { Log } from '../log.js';
import type { HeadParts } from './bring-up.js';
import type { PartNode } from './parts.js';
import { bringImage, startNode } from './start-node.js';

/** A node that dies again and again is left dead after this many times. */
const mostTimes = 3;

interface Work {
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

export class Replacements {
  /** "<cluster> <node>" */
  private readonly working = new Map<string, Work>();

  constructor(
    private readonly head: HeadParts,
    private readonly log: Log,
  ) {}

  /** True while this node is being made again: it does not run, and that is no news. */
  works(cluster: string, node: string): boolean {
    return this.working.has(`${cluster} ${node}`);
  }

  /** Begins to replace what the cluster lacks; returns at once. */
  async look(cluster: string): Promise<void> {
    const { parts } = this.head;
    const [nodes, spec] = [await parts.nodes(cluster), await parts.spec(cluster)];
    if (spec === undefined) return;
    const missing = spec.minCount - nodes.filter((node) => node.state === 'running' || this.works(cluster, node.name)).length;
    const dead = nodes.filter((node) => node.state === 'failed' && node.replaced < mostTimes && !this.works(cluster, node.name)).sort((a, b) => a.replaced - b.replaced);
    for (const node of dead.slice(0, Math.max(0, missing))) this.begin(cluster, node);
  }

  /** Ends what is under way for a cluster that is to go; resolves when nothing of it works any more. */
  async stop(cluster: string): Promise<void> {
    const works = [...this.working].filter(([key]) => key.startsWith(`${cluster} `)).map(([, work]) => work);
    for (const work of works) work.stop.abort();
    await Promise.all(works.map((work) => work.done));
  }

  async close(): Promise<void> {
    await Promise.all([...new Set([...this.working.keys()].map((key) => key.split(' ')[0] ?? ''))].map((cluster) => this.stop(cluster)));
  }

  private begin(cluster: string, node: PartNode): void {
    const key = `${cluster} ${node.name}`;
    const stop = new AbortController();
    const done = this.replace(cluster, node, stop.signal)
      .catch(async (error: unknown) => {
        if (stop.signal.aborted) return;
        this.log.warn({ cluster, node: node.name, err: error }, 'a node could not be replaced');
        await this.head.parts.setNode(cluster, node.name, 'failed', `it could not be replaced: ${(error as Error).message}`);
      })
      .catch((error: unknown) => this.log.error({ cluster, node: node.name, err: error }, 'writing that down failed'))
      .finally(() => this.working.delete(key));
    this.working.set(key, { stop, done });
  }

  private async replace(cluster: string, node: PartNode, signal: AbortSignal): Promise<void> {
    const { head } = this;
    const { parts } = head;
    const spec = await parts.spec(cluster);
    const layers = await parts.imageOf(cluster);
    if (spec === undefined || layers === undefined) return;
    const times = await parts.replacing(cluster, node.name);
    await parts.event(cluster, 'node', `replacing it on ${node.host}: the same name, addresses and certificate, a new disk${times > 1 ? ` (time ${times} of ${mostTimes})` : ''}`, node.name);
    const host = head.hosts.get(node.host);
    const id = { cluster, node: node.name };
    await host.driver.remove(id);
    const { image } = await bringImage(head, spec, host, layers, signal);
    if (signal.aborted) return;
    await startNode(head, spec, host, image, node, signal);
    await parts.setNode(cluster, node.name, 'running', 'replaced');
  }
}
