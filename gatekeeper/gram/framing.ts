/**
 * The GSI framing of a gatekeeper connection: the client puts a 4-byte length before each token of its handshake; behind it
 * are TLS records, and so is all that follows the handshake (GRAM5.md 3.2). This stream takes the lengths away; what is
 * written to it leaves as plain records, which every client takes. A connection that begins with a record is plain TLS.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { GridError } from '../../src/domain/error.js';

/** Largest framed token: a certificate chain of 100 KB, the most that TLS itself takes, fits. */
const largestToken = 256 * 1024;
const recordHeader = 5;
const framePrefix = 4;

/** Removes the prefixes, whatever the cuts between chunks. */
export class Unframer {
  /** Bytes of a header that is not whole yet. */
  #head: Buffer = Buffer.alloc(0);
  /** Bytes left of the record or token that is being passed on. */
  #left = 0;
  #framed: boolean | undefined;

  /** True if the first unit was framed: a client of GSI. Undefined until the first byte. */
  get framed(): boolean | undefined {
    return this.#framed;
  }

  /** @returns the bytes of TLS in it. bad-request if this is neither; the stream is then of no more use */
  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    for (let rest = chunk; rest.length > 0; ) {
      if (this.#left > 0) {
        const part = rest.subarray(0, this.#left);
        out.push(part);
        this.#left -= part.length;
        rest = rest.subarray(part.length);
      } else {
        const taken = this.#readHead(rest, out);
        rest = rest.subarray(taken);
      }
    }
    return out;
  }

  /** Takes what belongs to the header from `bytes`. @returns how many bytes */
  #readHead(bytes: Buffer, out: Buffer[]): number {
    const record = isRecord(this.#head[0] ?? bytes[0] ?? 0);
    this.#framed ??= !record;
    const need = (record ? recordHeader : framePrefix) - this.#head.length;
    const part = bytes.subarray(0, need);
    this.#head = this.#head.length === 0 ? part : Buffer.concat([this.#head, part]);
    if (this.#head[0] !== 0 && !record) throw notGram();
    if (part.length < need) return part.length;
    if (record) {
      if (this.#head[1] !== 3) throw notGram();
      out.push(this.#head);
      this.#left = this.#head.readUInt16BE(3);
    } else {
      this.#left = this.#head.readUInt32BE(0);
      if (this.#left === 0 || this.#left > largestToken) throw new GridError('bad-request', `a GSI token of ${this.#left} bytes; 1 to ${largestToken} are taken`);
    }
    this.#head = Buffer.alloc(0);
    return need;
  }
}

/** Content types of TLS records, and some to come. A length that begins so would be over 300 MB. */
function isRecord(first: number): boolean {
  return first >= 20 && first <= 26;
}

function notGram(): GridError {
  return new GridError('bad-request', 'neither a GSI token nor a TLS record');
}

/** The TLS bytes of a socket, both ways. Call `start` once with what should happen at the first byte. */
export class GsiStream extends Duplex {
  readonly #socket: Socket;
  readonly #unframer = new Unframer();

  /** @param begun called once, with the first byte: true if the client frames its tokens */
  constructor(socket: Socket, begun: (framed: boolean) => void) {
    super({ allowHalfOpen: true, readableHighWaterMark: 64 * 1024 });
    this.#socket = socket;
    let first = true;
    socket.on('data', (chunk: Buffer) => {
      let more = true;
      try {
        for (const part of this.#unframer.push(chunk)) more = this.push(part);
      } catch (error) {
        this.destroy(error as GridError);
        return;
      }
      if (!more) socket.pause();
      if (!first) return;
      first = false;
      begun(this.#unframer.framed === true);
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#socket.write(chunks.length === 1 ? (chunks[0] as { chunk: Buffer }).chunk : Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
