/**
 * The same work asked for twice at once is done once, and both wait. It is abandoned only when
 * everyone who waits has given up.
 */
import { GridError } from '../domain/error.js';

interface Running<T> {
  readonly promise: Promise<T>;
  readonly stop: AbortController;
  waiting: number;
}

export class SharedWork<T> {
  private readonly running = new Map<string, Running<T>>();

  /** Joins the running work under `key`, or starts it. Rejects with `interrupted` when `signal` aborts. */
  async join(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const run = this.running.get(key) ?? this.start(key, work);
    run.waiting += 1;
    let abandon = (): void => {};
    const given = new Promise<never>((_, reject) => {
      abandon = () => reject(new GridError('interrupted', `waiting for ${key} was interrupted`));
      if (signal.aborted) abandon();
      else signal.addEventListener('abort', abandon, { once: true });
    });
    try {
      return await Promise.race([run.promise, given]);
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

  private start(key: string, work: (signal: AbortSignal) => Promise<T>): Running<T> {
    const stop = new AbortController();
    const promise = work(stop.signal);
    promise.catch(() => {}); // every waiter sees it; none may be left
    const run: Running<T> = { promise, stop, waiting: 0 };
    this.running.set(key, run);
    return run;
  }
}
