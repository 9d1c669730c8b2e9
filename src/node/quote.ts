/** The one place where an argv becomes text for a remote POSIX shell. */
import { GridError } from '../domain/error.js';

/** One word, quoted so that any POSIX shell reads back exactly it. NUL cannot be passed at all: bad-request. */
export function quoteWord(word: string): string {
  if (word.includes('\0')) throw new GridError('bad-request', 'a command word contains a NUL character');
  return /^[A-Za-z0-9_/:.,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A whole argv as one shell command. */
export function quoteCommand(argv: readonly string[]): string {
  return argv.map(quoteWord).join(' ');
}
