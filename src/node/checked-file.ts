/**
 * A file as it is copied to a host, its SHA-256 computed on the way. The sender does it, with OpenSSL: the ways to a host keep what is given to
 * them whole (ssh has a code over every packet), and at the other end it took as long as the whole transfer (measured: 1.05 for 0.5 s, 123 MB).
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

export const wrongDigest = 'its digest is not the one that it should have';

export class CheckedFile implements AsyncIterable<Buffer> {
  /** After the reading: the digest is another one, and the last piece was held back. */
  wrong = false;

  /** @param digest hexadecimal; undefined: anything is right */
  constructor(
    private readonly path: string,
    private readonly digest: string | undefined,
    private readonly signal?: AbortSignal,
  ) {}

  async *[Symbol.asyncIterator](): AsyncIterator<Buffer> {
    const sum = this.digest === undefined ? undefined : createHash('sha256');
    let last: Buffer | undefined;
    for await (const chunk of createReadStream(this.path, { highWaterMark: 1 << 20, ...(this.signal ? { signal: this.signal } : {}) })) {
      if (last !== undefined) yield last;
      last = chunk as Buffer;
      sum?.update(last);
    }
    this.wrong = sum !== undefined && sum.digest('hex') !== this.digest;
    if (last !== undefined && !this.wrong) yield last;
  }
}
