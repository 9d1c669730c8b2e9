/** A child that talks to the person at the terminal itself: it shares our standard streams and process group. */
import { spawn } from 'node:child_process';
import { GridError } from '../domain/error.js';

/**
 * Runs `argv` on our own standard input, output and error, with our environment, to its end.
 * Ctrl-C reaches the child through the terminal; we wait for how it ends.
 * @returns its exit code (128 + 2 if a signal ended it); throws `unavailable` if it cannot be started
 */
export function runInteractive(argv: readonly string[]): Promise<number> {
  const [program = '', ...rest] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, { stdio: 'inherit' });
    child.once('error', (error) => reject(new GridError('unavailable', `${program} could not be started: ${error.message}`)));
    child.once('exit', (code) => resolve(code ?? 130));
  });
}
