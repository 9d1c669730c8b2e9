/**
 * A driver without a hypervisor, for tests of the head: it refuses what the real ones refuse, by the same kinds of errors, and
 * passes the same contract (driver-contract.ts). Its nodes can be made to die.
 */
import { GridError } from '../../src/domain/error.js';
import { checkName } from '../../src/domain/names.js';
import type { NodeDefinition, NodeId, NodeStatus } from '../../src/domain/node.js';
import { checkNetwork, nodeWord } from '../../src/hypervisor/node-words.js';
import type { ConsoleReader, HostCheck, HypervisorDriver } from '../../src/ports.js';

export class FakeDriver implements HypervisorDriver, ConsoleReader {
  readonly kind = 'fake';
  private readonly nodes = new Map<string, { definition: NodeDefinition; state: NodeStatus['state']; console: string }>();
  /** Every change, newest last: "define gvtestc1-n1". */
  readonly done: string[] = [];
  /** Asked before each start; what it throws is thrown. */
  beforeStart: (id: NodeId) => Promise<void> | void = () => {};

  /** @param layers digests that the host has */
  constructor(readonly host: string, private readonly layers: ReadonlySet<string>) {}

  async check(): Promise<HostCheck> {
    return { ok: true, problems: [], memory: 4000, disk: 40_000, vcpus: 2, about: 'fake' };
  }

  async list(): Promise<readonly NodeStatus[]> {
    return [...this.nodes.values()].map(({ definition, state }) => ({ id: definition.id, state }));
  }

  async define(node: NodeDefinition): Promise<void> {
    const word = nodeWord(node.id);
    checkNetwork(node);
    for (const digest of node.layers) {
      if (!this.layers.has(checkName('digest', digest))) throw new GridError('unavailable', `host ${this.host}: node ${word} could not be defined: layer ${digest} is not on this host`);
    }
    if (this.nodes.get(word)?.state === 'running') return;
    this.nodes.set(word, { definition: node, state: 'defined', console: '' });
    this.done.push(`define ${word}`);
  }

  async start(id: NodeId): Promise<void> {
    const word = nodeWord(id);
    if (!this.nodes.has(word)) throw new GridError('not-found', `node ${word} was never defined on host ${this.host}`);
    await this.beforeStart(id);
    const node = this.nodes.get(word);
    if (node === undefined || node.state === 'running') return;
    this.nodes.set(word, { ...node, state: 'running', console: 'booted\n' });
    this.done.push(`start ${word}`);
  }

  async stop(id: NodeId): Promise<void> {
    const node = this.nodes.get(nodeWord(id));
    if (node !== undefined) this.nodes.set(nodeWord(id), { ...node, state: 'defined' });
  }

  async remove(id: NodeId): Promise<void> {
    if (this.nodes.delete(nodeWord(id))) this.done.push(`remove ${nodeWord(id)}`);
  }

  async console(id: NodeId): Promise<string> {
    return this.nodes.get(nodeWord(id))?.console ?? '';
  }

  /** The node ends by itself, as a crash would. */
  die(id: NodeId, lastWords: string): void {
    const node = this.nodes.get(nodeWord(id));
    if (node !== undefined) this.nodes.set(nodeWord(id), { ...node, state: 'stopped', console: lastWords });
  }

  /** All that it holds. */
  traces(): string[] {
    return [...this.nodes.keys()];
  }
}
