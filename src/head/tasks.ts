/**
 * One task per living cluster: it brings the part up, or takes it down. At the start of the head
 * every unfinished part is resumed or undone, and nodes that no part owns are removed; then a watch looks
 * for ended leases, dead nodes and what the hosts have.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { GridError, isGridError } from '../domain/error.js';
import type { ClusterState } from '../domain/lifecycle.js';
import type { PartSpec } from '../domain/node.js';
import type { Log } from '../log.js';
import { bringUp, takeDown, type HeadParts, type Job } from './bring-up.js';
import { withDeadline } from './deadline.js';
import type { ComputeHost } from './hosts.js';
import { Replacements } from './replace.js';

const watchSeconds = 5;
const retryDownSeconds = 10;
const hostCheckRounds = 12; // each minute: a host that was away or mended is used again
const listSeconds = 10; // a host that does not answer by then is unknown in this round, and holds up no other

interface Task {
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

export class Tasks {
  private readonly rising = new Map<string, Task>();
  private readonly falling = new Map<string, Promise<void>>();
  private readonly replacements: Replacements;
  private timer: NodeJS.Timeout | undefined;
  private rounds = 0;
  private looking = false;
  private checking = false;
  private readonly stopping = new AbortController();

  constructor(
    private readonly head: HeadParts,
    private readonly log: Log,
  ) {
    this.replacements = new Replacements(head, log);
  }

  private get closed(): boolean {
    return this.stopping.signal.aborted;
  }

  /** Resumes what a crash or a restart left, then starts the watch. */
  async start(): Promise<void> {
    for (const { cluster, state } of await this.head.parts.unfinished()) this.resume(cluster, state);
    await this.sweep();
    this.timer = setInterval(() => void this.watch().catch((error: unknown) => this.log.warn({ err: error }, 'watch failed')), watchSeconds * 1000);
  }

  /** Begins the bring-up; returns at once. */
  up(cluster: string): void {
    if (this.closed || this.rising.has(cluster)) return;
    const stop = new AbortController();
    const end = this.head.activity.begin();
    const done = this.rise(cluster, stop.signal).finally(() => {
      end();
      this.rising.delete(cluster);
    });
    this.rising.set(cluster, { stop, done });
  }

  /** Marks the part `destroying` and begins to undo it; returns once it is marked. Repeatable. */
  async down(cluster: string): Promise<void> {
    const state = await this.head.parts.state(cluster);
    if (state === undefined || state === 'destroyed') return;
    if (state !== 'destroying') await this.head.parts.become(cluster, 'destroying');
    if (!this.falling.has(cluster)) this.falling.set(cluster, this.fall(cluster).finally(() => this.falling.delete(cluster)));
  }

  /** Stops bring-ups where they are (they resume at the next start); nodes keep running. */
  async close(): Promise<void> {
    this.stopping.abort();
    clearInterval(this.timer);
    for (const task of this.rising.values()) task.stop.abort();
    await Promise.allSettled([...[...this.rising.values()].map((task) => task.done), ...this.falling.values(), this.replacements.close()]);
  }

  private resume(cluster: string, state: ClusterState): void {
    if (state === 'destroying') this.falling.set(cluster, this.fall(cluster).finally(() => this.falling.delete(cluster)));
    else if (state === 'accepted' || state === 'building' || state === 'launching') this.up(cluster);
  }

  private async rise(cluster: string, signal: AbortSignal): Promise<void> {
    const { parts } = this.head;
    const spec = await parts.spec(cluster);
    try {
      if (spec === undefined) throw new GridError('internal', 'the keys of its nodes are gone from this head');
      await bringUp(this.job(spec, signal));
      this.log.info({ cluster }, 'nodes run');
    } catch (error) {
      if (this.closed || signal.aborted) return; // resumed at the next start, or undone by fall
      if (!isGridError(error)) this.log.error({ cluster, err: error }, 'bring-up failed');
      if (await this.undo(cluster, spec)) await parts.become(cluster, 'failed', reasonOf(error));
    }
  }

  private async fall(cluster: string): Promise<void> {
    return this.head.activity.during(() => this.fallDown(cluster));
  }

  private async fallDown(cluster: string): Promise<void> {
    const rising = this.rising.get(cluster);
    rising?.stop.abort();
    await rising?.done;
    await this.replacements.stop(cluster);
    if (await this.undo(cluster, await this.head.parts.spec(cluster))) await this.head.parts.become(cluster, 'destroyed');
  }

  /** Takes the part down, again and again until it is; false if the head stops before that. */
  private async undo(cluster: string, spec: PartSpec | undefined): Promise<boolean> {
    const job = this.job(spec ?? ({ cluster } as PartSpec), new AbortController().signal);
    job.hold.release(); // nothing is made any more
    while (!this.closed) {
      try {
        await takeDown(job);
        return true;
      } catch (error) {
        this.log.warn({ cluster, err: error }, 'taking a part down failed; trying again');
        await this.head.parts.event(cluster, 'warning', `undo: ${(error as Error).message}; trying again in ${retryDownSeconds} s`).catch(() => {});
        await pause(retryDownSeconds * 1000, undefined, { signal: this.stopping.signal }).catch(() => {});
      }
    }
    return false;
  }

  private job(spec: PartSpec, signal: AbortSignal): Job {
    return { head: this.head, spec, signal, hold: this.head.stock.hold(), without: new Set(), tried: new Set(), found: {} };
  }

  private async watch(): Promise<void> {
    if (this.looking) return; // a slow host: the round before goes on
    this.looking = true;
    try {
      this.rounds += 1;
      if (this.rounds % hostCheckRounds === 0) this.checkHosts();
      for (const { cluster } of await this.head.parts.expired(new Date())) {
        await this.head.parts.event(cluster, 'state', 'the lease has ended');
        await this.down(cluster);
      }
      await this.seeDeadNodes();
    } finally {
      this.looking = false;
    }
  }

  /** Beside the watch: a host that hangs must not hide a dead node of another. */
  private checkHosts(): void {
    if (this.checking) return;
    this.checking = true;
    void this.head.hosts.check().catch((error: unknown) => this.log.warn({ err: error }, 'the hosts could not be checked')).finally(() => (this.checking = false));
  }

  /** A node that should run and does not: says so, with the last lines of its console; in a ready part it may be made again. */
  private async seeDeadNodes(): Promise<void> {
    const living = (await this.head.parts.unfinished()).filter(({ state }) => state === 'joining' || state === 'ready');
    if (living.length === 0) return;
    const before = new Map(await Promise.all(living.map(async ({ cluster }) => [cluster, await this.head.parts.nodes(cluster)] as const)));
    const running = await this.runningNodes();
    for (const { cluster, state } of living) {
      for (const node of before.get(cluster) ?? []) {
        const seen = running.get(node.host);
        if (node.state !== 'running' || seen === undefined || seen.has(`${cluster}/${node.name}`) || this.replacements.works(cluster, node.name)) continue;
        await this.head.parts.setNode(cluster, node.name, 'failed', `stopped by itself${await this.lastWords(this.head.hosts.get(node.host), { cluster, node: node.name })}`);
      }
      if (state === 'ready') await this.replacements.look(cluster);
    }
  }

  private async lastWords(host: ComputeHost, id: { cluster: string; node: string }): Promise<string> {
    const tail = ((await this.inTime(host.driver.console?.(id) ?? Promise.resolve(''))) ?? '').trim().slice(-800);
    return tail === '' ? '' : `; console: ${tail}`;
  }

  private async runningNodes(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
    const found = new Map<string, ReadonlySet<string>>();
    await Promise.all(
      this.head.hosts.all.map(async (host) => {
        const nodes = await this.inTime(host.driver.list()); // unreachable: unknown is not dead
        if (nodes !== undefined) found.set(host.name, new Set(nodes.filter((node) => node.state === 'running').map(({ id }) => `${id.cluster}/${id.node}`)));
      }),
    );
    return found;
  }

  /** What `work` gives, or undefined if it fails or is not done in time. */
  private inTime<T>(work: Promise<T>): Promise<T | undefined> {
    const quiet = work.catch(() => undefined);
    return withDeadline(listSeconds, this.stopping.signal, (signal) =>
      Promise.race([quiet, new Promise<undefined>((resolve) => (signal.aborted ? resolve(undefined) : signal.addEventListener('abort', () => resolve(undefined), { once: true })))]),
    );
  }

  /** At the start: nodes on our hosts that no living part owns are leftovers of a crash. */
  private async sweep(): Promise<void> {
    const owned = new Set((await this.head.parts.unfinished()).map(({ cluster }) => cluster));
    for (const host of this.head.hosts.all) {
      for (const { id } of await host.driver.list().catch(() => [])) {
        if (owned.has(id.cluster)) continue;
        this.log.warn({ host: host.name, ...id }, 'removing a node that no part owns');
        await host.driver.remove(id).catch((error: unknown) => this.log.warn({ err: error, ...id }, 'cannot remove it'));
      }
    }
  }
}

function reasonOf(error: unknown): string {
  if (!isGridError(error)) return 'internal error at the head; its log has the story';
  return error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
}
