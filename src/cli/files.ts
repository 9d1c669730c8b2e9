/** Private files: written beside, with their mode from the start, then renamed: a file that exists is whole. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { randomBytes } from 'node:crypto';

/** Replaces `file`; makes its directory (0700) if that is missing. The default mode is 0600. */
export function writeWhole(file: string, content: string | Uint8Array, mode = 0o600): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const beside = `${file}.${randomBytes(4).toString('hex')}.new`;
  try {
    writeFileSync(beside, content, { mode, flag: 'wx' });
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}

/** Overwrites the bytes, then removes the file. */
export function wipe(file: string, size: number): void {
  writeFileSync(file, Buffer.alloc(size), { flag: 'r+' });
  rmSync(file);
}

