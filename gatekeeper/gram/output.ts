/**
 * One output stream of a job on its way to where its user wants it. Pieces come from the runners of the job, are gathered
 * while the batch before is under way, and are delivered in order; what has arrived everywhere is written down, so that a
 * gatekeeper that starts again goes on exactly there. While a destination is away nothing is lost: the node keeps it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isGridError } from '../../src/domain/error.js';

/** Where bytes go. */
export interface Sink {
  /** For messages. */
  readonly name: string;
  /**
   * Resolves when they have arrived. Rejects bad-request when they never will. `left` is called as soon as they have left
   * for good: they arrive even if this process dies now.
   */
  write(bytes: Uint8Array, left: () => void): Promise<void>;
}

export interface OutletOptions {
  readonly sinks: readonly Sink[];
  /** Bytes by node that had arrived before. */
  readonly sent: ReadonlyMap<string, number>;
  /** Writes down, at once, what has left; taken back when it turns out not to have arrived. */
  readonly note: (sent: ReadonlyMap<string, number>) => void;
  /** Writes down what has arrived. */
  readonly save: (sent: ReadonlyMap<string, number>) => Promise<void>;
  readonly signal: AbortSignal;
  /** Seconds that a destination may stay away once the job has ended. */
  readonly patienceSeconds: number;
}

const mostWaiting = 1024 * 1024;
const mostBatch = 1024 * 1024;
const pauses = { first: 100, most: 2000 };

export class Outlet {
  private waiting: { node: string; bytes: Uint8Array }[] = [];
  private size = 0;
  private readonly received: Map<string, number>;
  private sent: ReadonlyMap<string, number>;
  /** Of the batch under way: the sinks that it has left for, and what will be sent with it. */
  private readonly away = new Set<Sink>();
  private after: ReadonlyMap<string, number> = new Map();
  private active = false;
  private working: Promise<void> = Promise.resolve();
  private roomFor: (() => void)[] = [];
  private deadline = Infinity;
  private sinks: readonly Sink[];
  /** Sinks that were given up. */
  private readonly lost = new Map<Sink, string>();

  constructor(private readonly options: OutletOptions) {
    this.sinks = options.sinks;
    this.received = new Map(options.sent);
    this.sent = new Map(options.sent);
  }

  /** Bytes of a node that came here, this time or before: the next are asked for from there. */
  have(node: string): number {
    return this.received.get(node) ?? 0;
  }

  /** All bytes that have arrived. */
  get delivered(): number {
    return [...this.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  get busy(): boolean {
    return this.size > 0;
  }

  /** Why something did not arrive, once the outlet is drained. */
  get failure(): string | undefined {
    return this.sinks.flatMap((sink) => this.lost.get(sink) ?? [])[0];
  }

  /** From now on it goes elsewhere (signal STDIO_UPDATE), beginning with what has not arrived. */
  redirect(sinks: readonly Sink[]): void {
    this.sinks = sinks;
  }

  /** Takes a piece; resolves when there is room for the next. */
  async take(node: string, bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    this.received.set(node, this.have(node) + bytes.length);
    this.waiting.push({ node, bytes });
    this.size += bytes.length;
    if (!this.active) this.working = this.work();
    if (this.size > mostWaiting) await new Promise<void>((go) => this.roomFor.push(go));
  }

  /** No more comes. Resolves when everything has arrived or is given up. */
  async drained(): Promise<void> {
    this.deadline = Date.now() + this.options.patienceSeconds * 1000;
    await this.working;
  }

  private async work(): Promise<void> {
    this.active = true;
    while (this.waiting.length > 0 && !this.options.signal.aborted) {
      const batch = this.batch();
      const bytes = Buffer.concat(batch.map((piece) => piece.bytes));
      const done = new Set<Sink>();
      const after = new Map(this.sent);
      for (const piece of batch) after.set(piece.node, (after.get(piece.node) ?? 0) + piece.bytes.length);
      this.away.clear();
      this.after = after;
      for (let todo = this.sinks; todo.length > 0 && !this.options.signal.aborted; todo = this.sinks.filter((sink) => !done.has(sink))) {
        await Promise.all(todo.map(async (sink) => (await this.deliver(sink, bytes)) && done.add(sink)));
      }
      if (this.options.signal.aborted) break;
      this.sent = after;
      this.options.note(after);
      await this.options.save(this.sent).catch(() => {}); // the next one has it, too; at worst a restart repeats a piece
      this.size -= bytes.length;
      if (this.size <= mostWaiting) for (const go of this.roomFor.splice(0)) go();
    }
    this.active = false; // at once, not a turn later: a piece that comes now begins anew
    for (const go of this.roomFor.splice(0)) go();
  }

  private batch(): { node: string; bytes: Uint8Array }[] {
    let bytes = 0;
    const fitting = this.waiting.findIndex((piece) => (bytes += piece.bytes.length) > mostBatch);
    return this.waiting.splice(0, fitting < 0 ? this.waiting.length : Math.max(1, fitting));
  }

  private left(sink: Sink): void {
    this.away.add(sink);
    if (this.sinks.every((each) => this.away.has(each) || this.lost.has(each))) this.options.note(this.after);
  }

  /** True if this sink is done with it: it has arrived, or the sink is given up. */
  private async deliver(sink: Sink, bytes: Uint8Array): Promise<boolean> {
    const { signal } = this.options;
    for (let pause = pauses.first; !signal.aborted && this.sinks.includes(sink); pause = Math.min(pause * 2, pauses.most)) {
      if (this.lost.has(sink)) return true;
      try {
        await sink.write(bytes, () => this.left(sink));
        return true;
      } catch (error) {
        if (this.away.delete(sink)) this.options.note(this.sent);
        const final = isGridError(error, 'bad-request') || isGridError(error, 'too-large');
        if (final || Date.now() > this.deadline) this.lost.set(sink, `${sink.name}: ${(error as Error).message}`);
        else await sleep(pause, undefined, { signal }).catch(() => {});
      }
    }
    return false;
  }
}
