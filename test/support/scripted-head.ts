/** A head for tests of the gatekeeper: it answers as it is told to. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HeadConnection } from '../../gatekeeper/sites.js';
import { GridError } from '../../src/domain/error.js';
import type { PartSpec } from '../../src/domain/node.js';
import type { PartView } from '../../src/ports.js';

/** A head as the gatekeeper sees it; `mood` says how it answers. */
export class ScriptedHead implements HeadConnection {
  mood: 'works' | 'refuses' | 'fails' | 'away' = 'works';
  readonly specs = new Map<string, PartSpec[]>();
  private readonly gone = new Set<string>();

  constructor(private readonly site: string) {}

  async snapshot(): Promise<Awaited<ReturnType<HeadConnection['snapshot']>>> {
    this.answer();
    return { site: this.site, releases: ['bookworm'], bundles: ['mpi'], hosts: [{ host: 'h', freeMemory: 4000, freeDisk: 40_000, vcpus: 2 }] };
  }

  async check(asked: { packages: readonly string[] }): Promise<void> {
    this.answer();
    if (asked.packages.includes('octve')) throw new GridError('bad-request', 'there is no package octve');
  }

  async plan(_asked: unknown, nodes: number): Promise<PartView['plan']> {
    this.answer();
    return { site: this.site, nodes, stages: [{ stage: 'launch', predicted: 2, bytes: 0, items: nodes }], predicted: 2, reason: 'x', alternatives: [] };
  }

  async createPart(spec: PartSpec): Promise<PartView> {
    this.answer();
    if (this.mood === 'refuses') throw new GridError('no-capacity', 'asked too much', { hint: 'free: 0' });
    this.specs.set(spec.cluster, [...(this.specs.get(spec.cluster) ?? []), spec]);
    return this.getPart(spec.cluster);
  }

  async getPart(cluster: string): Promise<PartView> {
    this.answer();
    const spec = this.specs.get(cluster)?.[0];
    if (spec === undefined) throw new GridError('not-found', 'no such part');
    const state = this.gone.has(cluster) ? 'destroyed' : this.mood === 'fails' ? 'failed' : 'launching';
    return { cluster, state, ...(state === 'failed' ? { reason: 'package x does not install' } : {}), plan: await this.plan({}, spec.nodes.length), measured: [], nodes: spec.nodes.map((node) => ({ name: node.name, host: 'h', state: 'planned' })) };
  }

  async awaitPartEvents(_cluster: string, after: number, seconds: number): Promise<[]> {
    this.answer();
    await sleep(Math.min(seconds * 1000, after === 0 ? 50 : 100));
    this.answer();
    return [];
  }

  confirmPart(cluster: string): Promise<PartView> {
    return this.getPart(cluster);
  }

  extendPart(cluster: string): Promise<PartView> {
    return this.getPart(cluster);
  }

  async nodeConsole(): Promise<string> {
    return 'Kernel panic';
  }

  async destroyPart(cluster: string): Promise<PartView> {
    this.answer();
    this.gone.add(cluster);
    return { cluster, state: 'destroyed', plan: await this.plan({}, 0), measured: [], nodes: [] };
  }

  close(): void {}

  private answer(): void {
    if (this.mood === 'away') throw new GridError('unavailable', `${this.site} does not answer`);
  }
}
