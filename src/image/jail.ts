/**
 * Where builds run: fresh mount, pid, ipc and uts namespaces (and an empty network), so that every
 * mount, loop device and process of a build ends with its first process, however that ends. The whole
 * dies with us too: `setpriv --pdeathsig` for unshare, `--kill-child` for what is inside.
 */
import { rm } from 'node:fs/promises';
import { GridError } from '../domain/error.js';
import { startProcess } from '../proc/command.js';

export interface JailRun {
  /** A constant shell script, and its positional arguments: data never becomes script text. */
  readonly script: string;
  readonly args: readonly string[];
  readonly network: boolean;
  /** At the lowest priority: nobody waits for it. */
  readonly idle?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onLine: (line: string) => void;
  readonly onStatusLine?: (line: string) => void;
}

/** Runs the script to its end. Returns "" or the reason; rejects with `interrupted` once nothing of it runs any more. */
export async function runInJail(run: JailRun): Promise<string> {
  if (run.signal.aborted) throw new GridError('interrupted', 'the build was interrupted');
  const namespaces = ['--mount', '--pid', '--ipc', '--uts', ...(run.network ? [] : ['--net'])];
  const meek = run.idle === true ? ['nice', '-n', '19', 'ionice', '-c', '3'] : [];
  const argv = [...meek, 'setpriv', '--pdeathsig', 'KILL', 'unshare', ...namespaces, '--fork', '--kill-child', '--mount-proc', 'sh', '-c', `set -eu\numask 022\n${run.script}`, 'build', ...run.args];
  const child = startProcess(argv, { onLine: run.onLine, ...(run.env ? { env: run.env } : {}), ...(run.onStatusLine ? { onStatusLine: run.onStatusLine } : {}) });
  const onAbort = (): void => void child.stop(0); // unshare ignores TERM; all inside dies with it
  run.signal.addEventListener('abort', onAbort, { once: true });
  try {
    const end = await child.exited;
    if (run.signal.aborted) throw new GridError('interrupted', 'the build was interrupted');
    return end.reason;
  } finally {
    run.signal.removeEventListener('abort', onAbort);
  }
}

/** Removes a build's directory; the last processes of a killed build may still be ending, so it is tried for a while. */
export async function removeTree(dir: string): Promise<void> {
  await rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}
