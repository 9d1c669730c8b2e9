/** Ctrl-C and TERM as one AbortSignal: the first is graceful, the second ends at once. */
import { exitCodes } from './terminal.js';

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Gives the signals back. */
  done(): void;
}

/**
 * @param first called at the first signal, after `signal` is aborted
 * @param second at the second; default: exit with 130
 */
export function onInterrupt(first: () => void, second: () => void = () => process.exit(exitCodes.interrupted)): Interrupt {
  const controller = new AbortController();
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const handle = (): void => {
    if (controller.signal.aborted) return second();
    controller.abort();
    first();
  };
  for (const name of names) process.on(name, handle);
  return {
    signal: controller.signal,
    done: () => {
      for (const name of names) process.off(name, handle);
    },
  };
}
