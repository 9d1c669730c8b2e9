/**
 * The roll of one bring-up: who runs, who has joined, who is verified, who will not come; and when that is enough.
 * No I/O: facts go in with their times, the verdict comes out.
 */
import { GridError } from '../../src/domain/error.js';
import type { MeasuredStage } from '../../src/ports.js';

type State = 'planned' | 'running' | 'joined' | 'ready' | 'failed';

interface Entry {
  readonly name: string;
  readonly site: string;
  state: State;
  running?: number;
  joined?: number;
  ready?: number;
}

const order: readonly State[] = ['planned', 'running', 'joined', 'ready', 'failed'];

export class Roll {
  private readonly entries: ReadonlyMap<string, Entry>;
  private readonly failures: string[] = [];
  private open = true;
  private settle: () => void = () => {};
  private refuse: (error: GridError) => void = () => {};

  /**
   * Resolves when every node is verified or has failed and enough are verified; rejects `unavailable`, with the first
   * failure in its message, as soon as enough are out of reach.
   */
  readonly settled: Promise<void>;

  /** @param need how many nodes must be verified */
  constructor(
    nodes: readonly { name: string; site: string }[],
    private readonly need: number,
  ) {
    this.entries = new Map(nodes.map(({ name, site }) => [name, { name, site, state: 'planned' }]));
    this.settled = new Promise((resolve, reject) => {
      this.settle = resolve;
      this.refuse = reject;
    });
    this.settled.catch(() => {}); // whoever waits for it hears; before that nobody does
  }

  /** Each returns true if this is news: states go forward only. */
  runs(name: string, at: number): boolean {
    return this.move(name, 'running', (entry) => (entry.running = at));
  }

  joins(name: string, at: number): boolean {
    return this.move(name, 'joined', (entry) => (entry.joined = at));
  }

  isReady(name: string, at: number): boolean {
    return this.move(name, 'ready', (entry) => (entry.ready = at));
  }

  fails(name: string, reason: string): boolean {
    if (!this.move(name, 'failed', () => this.failures.push(`node ${name} at ${this.siteOf(name)}: ${reason}`))) return false;
    this.judge();
    return true;
  }

  /** The site will bring up no more nodes. @returns the names that are lost by that */
  siteFails(site: string, reason: string): readonly string[] {
    const lost = this.names((entry) => entry.site === site && entry.state !== 'ready' && entry.state !== 'failed');
    if (lost.length > 0) this.failures.push(`site ${site}: ${reason}`);
    for (const name of lost) this.move(name, 'failed', () => {});
    this.judge();
    return lost;
  }

  /** Nodes that run (or, where nobody told that they run, joined) since more than `seconds` and are not verified. */
  overdue(now: number, seconds: number): readonly string[] {
    return this.names((entry) => (entry.state === 'running' || entry.state === 'joined') && now - (entry.running ?? entry.joined ?? now) > seconds * 1000);
  }

  siteOf(name: string): string {
    return this.entries.get(name)?.site ?? '';
  }

  ready(site: string): readonly string[] {
    return this.names((entry) => entry.site === site && entry.state === 'ready');
  }

  waiting(): readonly string[] {
    return this.names((entry) => entry.state === 'planned' || entry.state === 'running');
  }

  /** What `join` (first node runs .. last one joined) and `verify` (.. last one verified) took at a site. */
  measured(site: string): readonly MeasuredStage[] {
    const nodes = [...this.entries.values()].filter((entry) => entry.site === site && entry.state === 'ready');
    const joined = Math.max(...nodes.map((entry) => entry.joined ?? 0));
    const started = Math.min(joined, ...nodes.map((entry) => entry.running ?? joined));
    const ready = Math.max(joined, ...nodes.map((entry) => entry.ready ?? 0));
    if (nodes.length === 0) return [];
    return [
      { stage: 'join', seconds: (joined - started) / 1000, bytes: 0, items: nodes.length },
      { stage: 'verify', seconds: (ready - joined) / 1000, bytes: 0, items: nodes.length },
    ];
  }

  private move(name: string, state: State, note: (entry: Entry) => void): boolean {
    const entry = this.entries.get(name);
    if (entry === undefined || entry.state === 'ready' || order.indexOf(state) <= order.indexOf(entry.state)) return false;
    entry.state = state;
    note(entry);
    if (state === 'ready') this.judge();
    return true;
  }

  private judge(): void {
    if (!this.open) return;
    const count = (state: State): number => this.names((entry) => entry.state === state).length;
    const lost = count('failed');
    const reachable = this.entries.size - lost;
    if (reachable < this.need) {
      this.open = false;
      const more = this.failures.length > 1 ? ` (and ${this.failures.length - 1} more failures; see the events)` : '';
      const quorum = this.need === this.entries.size ? '' : `; at most ${reachable} nodes can come up, ${this.need} are needed`;
      this.refuse(new GridError('unavailable', `${this.failures[0] ?? 'nodes are missing'}${more}${quorum}`));
    } else if (count('ready') === reachable) {
      this.open = false;
      this.settle();
    }
  }

  private names(is: (entry: Entry) => boolean): readonly string[] {
    return [...this.entries.values()].filter(is).map((entry) => entry.name);
  }
}
