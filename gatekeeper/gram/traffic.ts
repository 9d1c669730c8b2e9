/**
 * Who is at the door now. Users wait for the reply to their submission, nobody waits for the first instruction of a job: so the
 * start of a job lets submissions and queries go first, for a moment. (8 clients at a time: starting each job at once took
 * half of the processor time that accepting them needs.)
 */

/** A conversation that takes longer is slow for reasons of its own; it holds up nothing. */
const youngMilliseconds = 500;
/** The door is quiet when nobody came for so long. */
const quietMilliseconds = 20;
/** So long a start waits for a quiet moment; then it goes alone, as long as somebody is there, and after the second time as ever. */
const courtesySeconds = 2;
const patienceSeconds = 10;

export class Traffic {
  readonly #here = new Set<object>();
  #waiting: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** Somebody came. @returns call it when they have gone; repeatable */
  enter(): () => void {
    clearTimeout(this.#timer);
    const visit = {};
    this.#here.add(visit);
    const late = setTimeout(() => leave(), youngMilliseconds).unref();
    const leave = (): void => {
      clearTimeout(late);
      if (!this.#here.delete(visit) || this.#here.size > 0 || this.#waiting.length === 0) return;
      this.#settle();
    };
    return leave;
  }

  get busy(): boolean {
    return this.#here.size > 0;
  }

  /** Resolves when nobody is at the door, at the latest after `seconds`. */
  async quiet(seconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, seconds * 1000);
      this.#waiting.push(() => {
        clearTimeout(late);
        resolve();
      });
      if (this.#here.size === 0) this.#settle();
    });
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      for (const go of this.#waiting.splice(0)) go();
    }, quietMilliseconds);
  }
}

/** Runs what it is given in order: at most `limit` at a time, and only one while somebody is at the door. */
export function turns(limit: number, traffic: Traffic): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  let freed: (() => void)[] = [];
  return async (work) => {
    const came = performance.now();
    await traffic.quiet(courtesySeconds);
    const most = (): number => (traffic.busy && performance.now() - came < patienceSeconds * 1000 ? 1 : limit);
    while (running >= most()) await Promise.race([new Promise<void>((go) => freed.push(go)), traffic.quiet(courtesySeconds)]);
    running++;
    try {
      return await work();
    } finally {
      running--;
      const waiting = freed;
      freed = [];
      for (const go of waiting) go();
    }
  };
}
