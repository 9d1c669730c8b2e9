/**
 * Output that the gatekeeper keeps (globus-job-submit) until globus-job-clean, or a week: <home>/gram/kept/<job>/stdout
 * and stderr, mode 0600. A file is cut back to what the rows say has arrived before it grows again after a restart.
 */
import { mkdir, open, readdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { GridError } from '../../src/domain/error.js';
import { checkName } from '../../src/domain/names.js';
import type { Sink } from './output.js';

export type KeptStream = 'stdout' | 'stderr';

export class KeptOutput {
  private constructor(
    private readonly directory: string,
    /** Bytes of one stream. */
    private readonly most: number,
  ) {}

  static async open(home: string, most: number): Promise<KeptOutput> {
    const directory = join(home, 'gram', 'kept');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new KeptOutput(directory, most);
  }

  /** @param size bytes that are there rightly */
  async sink(job: string, stream: KeptStream, size: number): Promise<Sink> {
    await mkdir(join(this.directory, checkName('cluster', job)), { recursive: true, mode: 0o700 });
    const path = this.path(job, stream);
    await (await open(path, 'a', 0o600)).close();
    await truncate(path, size);
    let length = size;
    return {
      name: stream,
      write: async (bytes, left) => {
        if (length + bytes.length > this.most) throw new GridError('too-large', `it is larger than the ${this.most} bytes that the gatekeeper keeps`);
        const file = await open(path, 'a', 0o600);
        try {
          await file.truncate(length); // after a write that failed half way
          await file.appendFile(bytes);
          left();
        } finally {
          await file.close();
        }
        length += bytes.length;
      },
    };
  }

  /** Bytes from an offset on, at most a megabyte; undefined if nothing is kept of this job. */
  async read(job: string, stream: KeptStream, from: number): Promise<Uint8Array | undefined> {
    const file = await open(this.path(job, stream), 'r').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (file === undefined) return undefined;
    try {
      const room = Buffer.alloc(1024 * 1024);
      const { bytesRead } = await file.read(room, 0, room.length, from);
      return room.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  async size(job: string, stream: KeptStream): Promise<number> {
    return (await stat(this.path(job, stream)).catch(() => undefined))?.size ?? 0;
  }

  /** Repeatable. */
  async remove(job: string): Promise<void> {
    await rm(join(this.directory, checkName('cluster', job)), { recursive: true, force: true });
  }

  /** Jobs of which something is kept. */
  jobs(): Promise<string[]> {
    return readdir(this.directory);
  }

  private path(job: string, stream: KeptStream): string {
    return join(this.directory, checkName('cluster', job), stream);
  }
}
