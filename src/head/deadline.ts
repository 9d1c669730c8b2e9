/** Work with an end: a deadline of its own, or the end of the process. */

/**
 * Runs `work` with a signal that aborts after `seconds` or with `outer`, whichever is first.
 * (AbortSignal.any over AbortSignal.timeout is no substitute: Node 20 loses that timeout at a garbage collection.)
 */
export async function withDeadline<T>(seconds: number, outer: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const end = (): void => stop.abort();
  const timer = setTimeout(end, seconds * 1000);
  outer.addEventListener('abort', end, { once: true });
  if (outer.aborted) end();
  try {
    return await work(stop.signal);
  } finally {
    clearTimeout(timer);
    outer.removeEventListener('abort', end);
  }
}
