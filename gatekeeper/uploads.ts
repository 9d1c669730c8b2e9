/**
 * UploadStore on disk: <home>/uploads/<hash of the owner's DN>/<id>, mode 0600. A file is streamed beside its place,
 * hashed, fsynced and renamed, so that one that exists is whole. It dies a day after it came.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../src/domain/error.js';
import { checkName, isName } from '../src/domain/names.js';
import type { Caller } from '../src/domain/views.js';
import type { UploadStore } from '../src/ports.js';

export interface UploadLimits {
  /** Largest single file in bytes, default 64 MiB. */
  readonly fileBytes?: number;
  /** All files of one owner together, default 1 GiB. */
  readonly ownerBytes?: number;
  /** Milliseconds that an upload lives, default a day. */
  readonly lifetime?: number;
}

export interface DiskUploads extends UploadStore {
  /** Removes what has expired and what a crash left half-written; call it at the start and every hour or so. */
  sweep(): Promise<void>;
}

/** @param home the gatekeeper's state directory */
export function diskUploads(home: string, limits: UploadLimits = {}): DiskUploads {
  const fileBytes = limits.fileBytes ?? 64 * 1024 * 1024;
  const ownerBytes = limits.ownerBytes ?? 1024 * 1024 * 1024;
  const lifetime = limits.lifetime ?? 24 * 3600 * 1000;
  const root = join(home, 'uploads');
  const growing = new Map<string, number>(); // bytes now arriving, by temporary file
  const directoryOf = (owner: string): string => join(root, createHash('sha256').update(owner).digest('hex').slice(0, 32));

  const put = async (caller: Caller, body: AsyncIterable<Uint8Array>): Promise<{ id: string; bytes: number; sha256: string }> => {
    const directory = directoryOf(caller.subject);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await sweepDirectory(directory);
    const already = await storedBytes(directory);
    const id = `u-${randomBytes(16).toString('hex')}`;
    const place = join(directory, id);
    const temporary = `${place}.part`;
    const count = (bytes: number): void => {
      if (bytes > fileBytes) throw new GridError('too-large', `the file is larger than ${fileBytes} bytes`, { hint: 'split it, or fetch it from the nodes' });
      growing.set(temporary, bytes);
      const arriving = [...growing].reduce((sum, [path, size]) => (path.startsWith(directory) ? sum + size : sum), 0);
      if (already + arriving > ownerBytes) {
        throw new GridError('quota', `your uploads would be larger than ${ownerBytes} bytes together; ${already} are stored`, { hint: 'uploads are removed a day after they came' });
      }
    };
    try {
      const written = await writeWhole(temporary, body, count);
      await rename(temporary, place);
      await syncDirectory(directory);
      return { id, ...written };
    } catch (error) {
      await rm(temporary, { force: true });
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw new GridError('disk-full', `no space is left at ${root} of the gatekeeper`, { cause: error });
      if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') throw new GridError('interrupted', 'the connection ended before the file did', { cause: error });
      throw error;
    } finally {
      growing.delete(temporary);
    }
  };

  /** Path and bytes of an upload that is there and has not expired. */
  const found = async (owner: string, id: string): Promise<{ path: string; bytes: number }> => {
    const path = join(directoryOf(owner), checkName('upload', id));
    const status = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (status !== undefined && status.mtimeMs + lifetime > Date.now()) return { path, bytes: status.size };
    throw new GridError('not-found', `there is no upload ${id}`, { hint: 'send the file again by PUT /files (gridvc put); uploads are removed a day after they came' });
  };
  const size = async (owner: string, id: string): Promise<number> => (await found(owner, id)).bytes;
  const read = async (owner: string, id: string): Promise<Uint8Array> => readFile((await found(owner, id)).path);

  const sweepDirectory = async (directory: string): Promise<void> => {
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      const found = await stat(path).catch(() => undefined);
      const abandoned = !isName('upload', name) && !growing.has(path);
      if (found && (abandoned || found.mtimeMs + lifetime <= Date.now())) await rm(path, { force: true });
    }
  };

  const sweep = async (): Promise<void> => {
    const owners = await readdir(root).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    for (const owner of owners) await sweepDirectory(join(root, owner));
  };

  return { put, size, read, sweep };
}

async function storedBytes(directory: string): Promise<number> {
  const sizes = (await readdir(directory)).filter((name) => isName('upload', name)).map(async (name) => (await stat(join(directory, name)).catch(() => undefined))?.size ?? 0);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Streams to a new file and fsyncs it; `count` sees the bytes so far before each write and may throw. */
async function writeWhole(path: string, body: AsyncIterable<Uint8Array>, count: (bytes: number) => void): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  count(bytes);
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      count(bytes);
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
