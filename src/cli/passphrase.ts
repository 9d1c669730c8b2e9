/** Asks for a passphrase on the terminal without showing it, or takes the first line of standard input. */
import { openSync, readFileSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { GridError } from '../domain/error.js';

/** @param prompt what to ask for; @param fromInput read standard input instead of asking */
export async function readPassphrase(prompt: string, fromInput: boolean): Promise<string> {
  if (fromInput) return readFileSync(0, 'utf8').split('\n', 1)[0] ?? '';
  const terminal = openTerminal();
  process.stderr.write(prompt);
  terminal.setRawMode(true);
  try {
    return await readHidden(terminal);
  } finally {
    terminal.setRawMode(false);
    terminal.destroy();
    process.stderr.write('\n');
  }
}

function openTerminal(): ReadStream {
  try {
    return new ReadStream(openSync('/dev/tty', 'r'));
  } catch {
    throw new GridError('not-authenticated', 'the key is encrypted, and there is no terminal to ask for its passphrase', { hint: 'give it on standard input: gridvc proxy init --pwstdin' });
  }
}

function readHidden(terminal: ReadStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let typed = '';
    terminal.setEncoding('utf8').on('data', (text: string) => {
      for (const character of text) {
        if (character === '\r' || character === '\n' || character === '\u0004') return resolve(typed);
        if (character === '\u0003') return reject(new GridError('interrupted', 'interrupted'));
        typed = character === '\u007f' || character === '\b' ? typed.slice(0, -1) : typed + character;
      }
    });
    terminal.once('end', () => resolve(typed)).once('error', reject);
  });
}
