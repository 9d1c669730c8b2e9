/**
 * Who is at work on this head: bring-ups, plans, undoing. Idle work (making.ts) begins only when nobody is, and is
 * abandoned in the same moment in which somebody begins.
 */
export class Activity {
  private works = 0;
  private total = 0;
  private lastEnd = performance.now();
  private readonly listeners = new Set<() => void>();

  /** Registers a piece of work. @returns what ends it; calling that again does nothing */
  begin(): () => void {
    this.works += 1;
    this.total += 1;
    for (const listener of this.listeners) listener();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.works -= 1;
      this.lastEnd = performance.now();
    };
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    const end = this.begin();
    try {
      return await work();
    } finally {
      end();
    }
  }

  get atWork(): number {
    return this.works;
  }

  /** All that ever began. */
  get begun(): number {
    return this.total;
  }

  /** Seconds since the last piece of work ended; 0 while there is one. */
  idleSeconds(): number {
    return this.works > 0 ? 0 : (performance.now() - this.lastEnd) / 1000;
  }

  /** @returns what unregisters the listener */
  onBegin(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
