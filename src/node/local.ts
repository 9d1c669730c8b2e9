/** The machine that we run on as a compute host, optionally seen from inside a network namespace. */
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { randomBytes } from 'node:crypto';
import { GridError } from '../domain/error.js';
import type { CommandResult, NodeTransport, PutOptions, RunOptions } from '../ports.js';
import { runCommand } from '../proc/command.js';
import { CheckedFile, wrongDigest } from './checked-file.js';

export class LocalTransport implements NodeTransport {
  readonly host: string;
  private readonly prefix: readonly string[];

  /** @param options.netns name under /run/netns in which every command runs; files are the machine's own */
  constructor(options: { host: string; netns?: string }) {
    this.host = options.host;
    this.prefix = options.netns === undefined ? [] : ['nsenter', `--net=/run/netns/${options.netns}`, '--'];
  }

  async run(argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    const result = await runCommand([...this.prefix, ...argv], options);
    return { ...result, argv };
  }

  async putFile(local: string, remote: string, options: PutOptions = {}): Promise<{ bytes: number }> {
    const staged = `${remote}.${randomBytes(6).toString('hex')}.part`;
    try {
      await mkdir(dirname(remote), { recursive: true });
      const bytes = await copyDurably(local, staged, options);
      await rename(staged, remote);
      return { bytes };
    } catch (error) {
      await rm(staged, { force: true }).catch(() => undefined); // the first error is the one to tell
      throw putFailed(this.host, local, remote, error, options.signal);
    }
  }

  /** Hard-links `local` to `remote` where both are on one file system: true; elsewhere nothing happens: false. */
  async linkFile(local: string, remote: string): Promise<boolean> {
    const staged = `${remote}.${randomBytes(6).toString('hex')}.part`;
    try {
      await mkdir(dirname(remote), { recursive: true });
      await link(local, staged);
      await rename(staged, remote);
      await rm(staged, { force: true }); // rename of two names of one file leaves both
      return true;
    } catch (error) {
      await rm(staged, { force: true }).catch(() => undefined); // the first error is the one to tell
      if (['EXDEV', 'EPERM', 'EMLINK', 'EOPNOTSUPP'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
      throw putFailed(this.host, local, remote, error, undefined);
    }
  }

  async close(): Promise<void> {}
}

async function copyDurably(from: string, to: string, options: PutOptions): Promise<number> {
  const file = await open(to, 'wx', options.mode ?? 0o644);
  try {
    let bytes = 0;
    const source = new CheckedFile(from, options.digest, options.signal);
    for await (const chunk of source) {
      await file.writeFile(chunk);
      bytes += chunk.length;
    }
    if (source.wrong) throw new Error(wrongDigest);
    await file.chmod(options.mode ?? 0o644); // whatever the umask says
    await file.sync();
    return bytes;
  } finally {
    await file.close();
  }
}

function putFailed(host: string, local: string, remote: string, error: unknown, signal: AbortSignal | undefined): GridError {
  const cause = error as NodeJS.ErrnoException;
  if (signal?.aborted) return new GridError('interrupted', `copying ${local} to ${host}:${remote} was interrupted`, { cause });
  const kind = cause.code === 'ENOSPC' ? 'disk-full' : cause.code === 'ENOENT' ? 'not-found' : 'unavailable';
  return new GridError(kind, `${local} could not be copied to ${host}:${remote}: ${cause.message}`, { cause });
}
