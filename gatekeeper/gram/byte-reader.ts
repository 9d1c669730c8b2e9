/** Reads a stream piece by piece: so many bytes, up to a mark, one DER value. Nothing is taken before it is whole. */
import type { Duplex } from 'node:stream';
import { GridError } from '../../src/domain/error.js';

export class ByteReader {
  /** What was asked for stands in `#bytes`; chunks are joined only when more is needed, so a trickle costs no copying. */
  #bytes: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #length = 0;
  #ended: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(stream: Duplex) {
    const end = (error?: Error): void => {
      this.#ended ??= error ?? new GridError('interrupted', 'the client closed the connection');
      this.#wake?.();
    };
    stream.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      if (this.#length > mostBuffered) stream.pause();
      this.#wake?.();
    });
    this.#resume = () => void (stream.isPaused() && stream.resume());
    stream.once('end', () => end()).once('error', end).once('close', () => end());
  }

  readonly #resume: () => void;

  /** The first byte, without taking it. */
  async peek(): Promise<number> {
    await this.#need(1);
    return this.#bytes[0] as number;
  }

  async take(count: number): Promise<Buffer> {
    await this.#need(count);
    return this.#cut(count);
  }

  /** Everything up to `mark`; the mark itself is taken and left off. too-large if it does not come within `most` bytes. */
  async until(mark: string, most: number): Promise<string> {
    for (let looked = 0; ; ) {
      const at = this.#bytes.indexOf(mark, Math.max(0, looked - mark.length), 'latin1');
      if (at >= 0 && at <= most) {
        const text = this.#cut(at).toString('latin1');
        this.#cut(mark.length);
        return text;
      }
      if (this.#bytes.length > most) throw new GridError('too-large', `a head of more than ${most} bytes`);
      looked = this.#bytes.length;
      await this.#need(looked + 1);
    }
  }

  /** One DER SEQUENCE of at most `most` bytes. */
  async derSequence(most: number): Promise<Buffer> {
    await this.#need(2);
    if (this.#bytes[0] !== 0x30) throw new GridError('bad-request', 'expected a DER sequence');
    const first = this.#bytes[1] as number;
    const octets = first < 0x80 ? 0 : first & 0x7f;
    if (octets > 3 || first === 0x80) throw new GridError('bad-request', 'malformed DER length');
    await this.#need(2 + octets);
    const length = 2 + octets + (octets === 0 ? first : this.#bytes.readUIntBE(2, octets));
    if (length > most) throw new GridError('too-large', `a DER value of ${length} bytes; at most ${most} are taken`);
    return this.take(length);
  }

  /** Everything to the end of the stream; too-large if that is more than `most` bytes. */
  async rest(most: number): Promise<Buffer> {
    while (this.#ended === undefined) {
      if (this.#length > most) break;
      await this.#need(this.#length + 1).catch(() => undefined);
    }
    if (this.#length > most) throw new GridError('too-large', `more than ${most} bytes`);
    await this.#need(this.#length);
    return this.#cut(this.#length);
  }

  /** Reads and forgets up to `most` bytes or to the end. */
  async drain(most: number): Promise<void> {
    for (let left = most; this.#ended === undefined; ) {
      left -= this.#length;
      this.#chunks = [];
      this.#bytes = Buffer.alloc(0);
      this.#length = 0;
      if (left <= 0) return;
      await this.#need(1).catch(() => undefined);
    }
  }

  #cut(count: number): Buffer {
    const part = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    this.#length -= count;
    return part;
  }

  async #need(count: number): Promise<void> {
    while (this.#length < count) {
      if (this.#ended) throw this.#ended;
      this.#resume();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#bytes.length >= count) return;
    this.#bytes = Buffer.concat([this.#bytes, ...this.#chunks]);
    this.#chunks = [];
  }
}

/** More than the largest thing that is waited for at once. */
const mostBuffered = 256 * 1024;
