/**
 * The same work asked for twice at once is done once, and both wait. It is abandoned only when
 * everyone who waits has given up.
 */
import { GridError } from '../domain/error.js';

interface Running<T> {
  readonly promise: Promise<T>;
  readonly stop: AbortController;
  waiting: number;
  /** Somebody has taken the result as the one who pays for it. */
  taken: boolean;
}

export interface Shared<T> {
  readonly result: T;
  /** True for exactly one of those who waited to the end: whatever is to be noted once is theirs to note. */
  readonly first: boolean;
}

export class SharedWork<T> {
  private readonly running = new Map<string, Running<T>>();

  /** Joins the running work under `key`, or starts it. Rejects with `interrupted` when `signal` aborts. */
  async join(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<Shared<T>> {
    const run = this.running.get(key) ?? this.start(key, work);
    run.waiting += 1;
    let abandon = (): void => {};
    const given = new Promise<never>((_, reject) => {
      abandon = () => reject(new GridError('interrupted', `waiting for ${key} was interrupted`));
      if (signal.aborted) abandon();
      else signal.addEventListener('abort', abandon, { once: true });
    });
    try {
      const result = await Promise.race([run.promise, given]);
      const first = !run.taken;
      run.taken = true;
      return { result, first };
    } finally {
      signal.removeEventListener('abort', abandon);
      run.waiting -= 1;
      if (run.waiting === 0 && this.running.get(key) === run) {
        this.running.delete(key);
        run.stop.abort();
        await run.promise.catch(() => {}); // the undo of the work is over before we say that it is
      }
    }
  }

  /** How many pieces of work run now. */
  get size(): number {
    return this.running.size;
  }

  private start(key: string, work: (signal: AbortSignal) => Promise<T>): Running<T> {
    const stop = new AbortController();
    const promise = work(stop.signal);
    promise.catch(() => {}); // every waiter sees it; none may be left
    const run: Running<T> = { promise, stop, waiting: 0, taken: false };
    this.running.set(key, run);
    return run;
  }
}
