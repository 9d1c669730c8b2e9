/**
 * Files of one directory, read again when they change. A file that changed within the clock's last tick is read
 * once more the next time, since its stamp could stay the same over another change.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

const tick = 50;

interface Known<T> {
  readonly stamp: string;
  /** SHA-256 of the bytes, or why they could not be read. */
  readonly digest: string;
  readonly loaded: T;
}

export interface Loader<T> {
  /** Whether a file of this name counts. */
  readonly wanted: (name: string) => boolean;
  /** Must not throw. @param bytes the file, or why it could not be read */
  readonly load: (name: string, file: string, bytes: Buffer | Error) => T;
  /** Bytes of the largest file that is read. */
  readonly largest: number;
}

export class FileCache<T> {
  readonly #directory: string;
  readonly #loader: Loader<T>;
  #files = new Map<string, Known<T>>();
  /** Why the directory itself could not be listed. */
  problem: string | undefined;

  constructor(directory: string, loader: Loader<T>) {
    this.#directory = directory;
    this.#loader = loader;
  }

  /** Looks at every file and reads those that changed. @returns whether anything did */
  refresh(): boolean {
    const files = new Map(this.#list().map((name) => [name, this.#look(name)]));
    const changed = files.size !== this.#files.size || [...files].some(([name, { loaded }]) => this.#files.get(name)?.loaded !== loaded);
    this.#files = files;
    return changed;
  }

  #look(name: string): Known<T> {
    const file = join(this.#directory, name);
    const known = this.#files.get(name);
    const stamp = stampOf(file);
    if (known?.stamp === stamp) return known;
    const bytes = attempt(() => readSmallFile(file, this.#loader.largest));
    const digest = bytes instanceof Error ? bytes.message : createHash('sha256').update(bytes).digest('hex');
    return { stamp, digest, loaded: known?.digest === digest ? known.loaded : this.#loader.load(name, file, bytes) };
  }

  #list(): string[] {
    try {
      const names = readdirSync(this.#directory).filter(this.#loader.wanted).sort();
      this.problem = undefined;
      return names;
    } catch (error) {
      this.problem = (error as Error).message;
      return [];
    }
  }

  *entries(): Iterable<[string, T]> {
    for (const [name, { loaded }] of this.#files) yield [name, loaded];
  }

  *values(): Iterable<T> {
    for (const { loaded } of this.#files.values()) yield loaded;
  }
}

function attempt<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function stampOf(file: string): string {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  if (!stat) return 'gone';
  const fresh = Math.abs(Date.now() - Number(stat.mtimeMs)) < tick ? ` read at ${performance.now()}` : '';
  return `${stat.ino} ${stat.size} ${stat.mtimeNs}${fresh}`;
}

/** Bytes of a regular file. A pipe or a device would never end: it is refused, and so is more than `largest` bytes. */
export function readSmallFile(file: string, largest: number): Buffer {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw new Error('it is not a regular file');
    if (stat.size > largest) throw new Error(`it is larger than ${largest} bytes`);
    const bytes = Buffer.alloc(stat.size);
    let read = 0;
    while (read < bytes.length) {
      const count = readSync(descriptor, bytes, read, bytes.length - read, read);
      if (count === 0) break;
      read += count;
    }
    return bytes.subarray(0, read);
  } finally {
    closeSync(descriptor);
  }
}
