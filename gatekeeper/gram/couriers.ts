/** Callbacks and GASS: what goes from here to the client's own listener, over user-connection.ts (GRAM5.md 6.9, 7.1). */
import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { GridError, isGridError } from '../../src/domain/error.js';
import type { Log } from '../../src/log.js';
import { ByteReader } from './byte-reader.js';
import type { Contacts } from './contact.js';
import { callbackRequest } from './messages.js';
import type { Couriers, JobCredential, JobState } from './port.js';
import { dialUser, readUserUrl, type DialRules } from './user-connection.js';

export interface CourierOptions extends DialRules {
  readonly contacts: Contacts;
  readonly log: Log;
}

const callbackSeconds = 10;
/** Seconds that the client's end may take to accept or send anything, and one file to come whole. */
const stallSeconds = 60;
const fileSeconds = 900;
const headBytes = 8192;
/** What a fresh TCP connection takes without waiting for the other end. */
const atOnceBytes = 32 * 1024;
/** Client ends that show what they are given; any other path is a file there. */
const devices: ReadonlySet<string> = new Set(['/dev/stdout', '/dev/stderr']);

/** Couriers that speak to Globus' own listeners. */
export class GsiCouriers implements Couriers {
  constructor(private readonly options: CourierOptions) {}

  async callback(url: string, credential: JobCredential, state: JobState): Promise<'delivered' | 'gone'> {
    try {
      const to = readUserUrl(url);
      const socket = await dialUser(to, credential, this.options);
      const status = await within(socket, callbackSeconds, async () => {
        const reader = new ByteReader(socket);
        socket.write(callbackRequest(to, this.options.contacts.of(state.path), state));
        return statusOf(await reader.until('\r\n', headBytes));
      });
      return status === 200 ? 'delivered' : 'gone';
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.options.log.info({ url: url.slice(0, 200), reason: error.message, job: state.path.split('/')[1] }, 'GRAM callback not delivered');
      return 'gone';
    }
  }

  async append(url: string, credential: JobCredential, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const to = readUserUrl(url);
    const source = bytes[Symbol.asyncIterator]();
    let next = await firstOf(source);
    if (next === undefined) return; // an empty body ends a GASS connection without a reply
    const socket = await dialUser(to, credential, this.options);
    const alarm = new Alarm(socket, to);
    try {
      const reader = new ByteReader(socket);
      socket.write(`${appendHead(to)}Transfer-Encoding: chunked\r\n\r\n`);
      for (; next !== undefined; next = await alarm.first(firstOf(source))) await alarm.limited(write(socket, next));
      socket.write('0\r\n\r\n');
      checkStatus(statusOf(await alarm.limited(reader.until('\r\n', headBytes))), to);
    } catch (error) {
      void source.return?.().catch(() => undefined); // not awaited: it may wait for its next piece
      throw asUnavailable(error, to);
    } finally {
      alarm.off();
      socket.destroy();
    }
  }

  async appendPiece(url: string, credential: JobCredential, piece: Uint8Array, left: () => void): Promise<void> {
    const to = readUserUrl(url);
    const socket = await dialUser(to, credential, this.options);
    await within(socket, stallSeconds, async () => {
      const reader = new ByteReader(socket);
      const small = piece.length <= atOnceBytes;
      socket.cork(); // one write: a second one would wait in this process for the end of the first
      socket.write(`${appendHead(to)}Content-Length: ${piece.length}\r\n\r\n`);
      socket.write(piece, () => small || left());
      socket.uncork();
      if (small) left();
      checkStatus(statusOf(await reader.until('\r\n', headBytes)), to);
    }).catch((error: unknown) => {
      throw asUnavailable(error, to);
    });
  }

  async read(url: string, credential: JobCredential, most: number): Promise<Uint8Array> {
    const to = readUserUrl(url);
    const socket = await dialUser(to, credential, this.options);
    return within(socket, fileSeconds, async () => {
      const reader = new ByteReader(socket);
      socket.write(`GET ${to.pathname}${to.search} HTTP/1.1\r\n${gassHead(to)}\r\n`);
      const [first = '', ...lines] = (await reader.until('\r\n\r\n', headBytes)).split('\r\n');
      checkStatus(statusOf(first), to);
      const length = lines.flatMap((line) => /^content-length: *(\d{1,15})$/i.exec(line)?.[1] ?? [])[0];
      if (length !== undefined && Number(length) > most) throw tooLarge(to, most);
      if (length !== undefined) return reader.take(Number(length));
      if (lines.some((line) => /^transfer-encoding:/i.test(line))) return readChunks(reader, most, to);
      return reader.rest(most);
    }).catch((error: unknown) => {
      throw isGridError(error, 'too-large') ? tooLarge(to, most) : asUnavailable(error, to);
    });
  }
}

function appendHead(to: URL): string {
  const target = devices.has(to.pathname) ? `POST /globus-bins/GASSappend?${to.pathname}` : `PUT ${to.pathname}`;
  return `${target} HTTP/1.1\r\n${gassHead(to)}Content-Type: application/octet-stream\r\n`;
}

function gassHead(to: URL): string {
  return `Host: ${to.hostname}\r\nConnection: close\r\nUser-Agent: Globus-GASS-HTTP/1.1.0\r\n`;
}

async function firstOf(source: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
  for (;;) {
    const { done, value } = await source.next();
    if (done === true) return undefined;
    if (value.length > 0) return value;
  }
}

async function write(socket: TLSSocket, piece: Uint8Array): Promise<void> {
  socket.cork();
  socket.write(`${piece.length.toString(16)}\r\n`);
  socket.write(piece);
  const more = socket.write('\r\n');
  socket.uncork();
  if (!more && !socket.destroyed) await once(socket, 'drain');
}

async function readChunks(reader: ByteReader, most: number, to: URL): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for (let sum = 0; ; ) {
    const size = /^([0-9a-fA-F]{1,8})(?:;.*)?$/.exec(await reader.until('\r\n', headBytes))?.[1];
    if (size === undefined) throw new GridError('unavailable', `${to.host} sent a malformed chunk`);
    const length = parseInt(size, 16);
    if (length === 0) return Buffer.concat(chunks);
    sum += length;
    if (sum > most) throw tooLarge(to, most);
    chunks.push(await reader.take(length));
    await reader.take(2);
  }
}

function statusOf(line: string): number {
  return Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line)?.[1] ?? 0);
}

function checkStatus(status: number, to: URL): void {
  if (status === 200) return;
  if (status === 404) throw new GridError('not-found', `${to.href} is not there`);
  throw new GridError('unavailable', `${to.href} was answered with ${status || 'something else than HTTP'}`);
}

function tooLarge(to: URL, most: number): GridError {
  return new GridError('bad-request', `${to.href} is larger than the ${most} bytes that are taken`);
}

function asUnavailable(error: unknown, to: URL): unknown {
  if (isGridError(error, 'interrupted') || !(error instanceof GridError)) return new GridError('unavailable', `the transfer with ${to.host} broke off: ${(error as Error).message}`, { cause: error });
  return error;
}

/** Ends the connection when the work is done, failed or late. */
async function within<T>(socket: TLSSocket, seconds: number, work: () => Promise<T>): Promise<T> {
  const late = setTimeout(() => socket.destroy(new GridError('unavailable', `no answer within ${seconds} s`)), seconds * 1000);
  try {
    return await work();
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
}

/** Tells at once when the connection ends while we wait for the job, and when the other end stalls while we wait for it. */
class Alarm {
  #fail: ((error: Error) => void) | undefined;
  readonly #rang = (error?: Error): void => {
    this.#error ??= error ?? new GridError('unavailable', `${this.to.host} closed the connection`);
    this.#fail?.(this.#error);
  };
  #error: Error | undefined;

  constructor(
    private readonly socket: TLSSocket,
    private readonly to: URL,
  ) {
    socket.once('error', this.#rang).once('close', () => this.#rang());
  }

  first<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#fail = reject;
      if (this.#error) reject(this.#error);
      work.then(resolve, reject);
    });
  }

  async limited<T>(work: Promise<T>): Promise<T> {
    const late = setTimeout(() => this.#rang(new GridError('unavailable', `${this.to.host} took nothing for ${stallSeconds} s`)), stallSeconds * 1000);
    return this.first(work).finally(() => clearTimeout(late));
  }

  off(): void {
    this.socket.off('error', this.#rang).on('error', () => undefined);
  }
}
