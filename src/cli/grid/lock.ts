/** One `grid up` or `grid down` at a time for one state directory. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { GridError } from '../../domain/error.js';
import { isAlive } from '../../proc/command.js';

/** Takes the lock, or throws wrong-state naming the process that has it; a dead owner's lock is taken over. */
export function takeLock(file: string): () => void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o711 });
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(file, `${process.pid}\n`, { flag: 'wx', mode: 0o600 });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const owner = ownerOf(file);
      if (owner !== undefined && isAlive(owner)) {
        throw new GridError('wrong-state', `process ${owner} is bringing the grid up or down just now`, { hint: `wait for it; if it is something else, remove ${file}` });
      }
      rmSync(file, { force: true });
    }
  }
  throw new GridError('wrong-state', `another process took ${file} just now`, { hint: 'try again' });
}

function ownerOf(file: string): number | undefined {
  try {
    return Number(readFileSync(file, 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}
