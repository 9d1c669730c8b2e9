/**
 * HTTPS with a grid certificate over kept connections: deadline, abort, and errors that say what to do.
 * Nothing here knows SOAP; client.ts does.
 */
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { PeerCertificate } from 'node:tls';
import { GridError } from '../domain/error.js';
import { errorFromHttp } from './fault.js';

/** TLS of the caller. All PEM. */
export interface ClientTls {
  /** Authorities that may have signed the server's certificate. */
  readonly ca: readonly string[];
  /** The caller's chain, its own certificate (proxy) first. */
  readonly cert: string;
  readonly key: string;
  /** Name that the server's certificate must have, if it is not the host of the URL. */
  readonly servername?: string;
  /** Judges the server's certificate (DER) instead of the host name check; returns why it is refused. */
  readonly checkServer?: (certificate: Uint8Array) => Error | undefined;
}

export interface ClientOptions {
  /** https://host:port, or with the whole path of the service. */
  readonly url: string;
  readonly tls: ClientTls;
  /** Deadline of each call, default 60; long polls add what they wait. */
  readonly seconds?: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly seconds?: number;
}

const maxAnswer = 64 * 1024 * 1024;

/** Why a call was ended: its deadline, not its caller. */
const late = new Error('late');

/** One HTTPS exchange over kept connections. Errors: unavailable, not-authenticated (either side), timeout, interrupted. */
export class HttpsClient {
  readonly #agent: Agent;
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    const { tls } = options;
    this.#options = options;
    const { checkServer } = tls;
    this.#agent = new Agent({
      keepAlive: true,
      keepAliveMsecs: 15_000,
      maxSockets: 64,
      ca: [...tls.ca],
      cert: tls.cert,
      key: tls.key,
      minVersion: 'TLSv1.2',
      ...(tls.servername === undefined ? {} : { servername: tls.servername }),
      ...(checkServer ? { checkServerIdentity: (_host: string, certificate: PeerCertificate) => checkServer(certificate.raw) } : {}),
    });
  }

  /** Sends one request and reads the whole answer (at most 64 MiB). */
  async exchange(method: string, path: string, headers: Record<string, string | number>, body: string | Uint8Array | NodeJS.ReadableStream, call: CallOptions = {}): Promise<{ status: number; body: Buffer }> {
    const seconds = call.seconds ?? this.#options.seconds ?? 60;
    const url = new URL(path, this.#options.url);
    // A timer of our own: Node 20 loses an AbortSignal.timeout inside AbortSignal.any at a garbage collection.
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(late), Math.ceil(seconds * 1000));
    const interrupt = (): void => stop.abort();
    call.signal?.addEventListener('abort', interrupt, { once: true });
    if (call.signal?.aborted === true) interrupt();
    try {
      return await this.#attempts(url, { method, headers, body, seconds, signal: stop.signal });
    } finally {
      clearTimeout(timer);
      call.signal?.removeEventListener('abort', interrupt);
    }
  }

  async #attempts(url: URL, sent: { method: string; headers: Record<string, string | number>; body: string | Uint8Array | NodeJS.ReadableStream; seconds: number; signal: AbortSignal }): Promise<{ status: number; body: Buffer }> {
    const { method, headers, body, seconds, signal } = sent;
    const stream = typeof body !== 'string' && !(body instanceof Uint8Array);
    for (let attempt = 1; ; attempt++) {
      let reused = false;
      try {
        return await new Promise((resolve, reject) => {
          const request = httpsRequest(url, { method, headers, agent: this.#agent, signal }, (response) => readAnswer(response).then((answer) => resolve({ status: response.statusCode ?? 0, body: answer }), reject));
          request.once('error', (error) => {
            reused = request.reusedSocket;
            reject(error);
          });
          if (stream) body.on('error', (error: Error) => request.destroy(error)).pipe(request);
          else request.end(body);
        });
      } catch (error) {
        // A kept connection that the server closed just now: every operation may be repeated, so ask once more.
        if (attempt === 1 && reused && !stream && (error as NodeJS.ErrnoException).code === 'ECONNRESET') continue;
        if (error instanceof GridError) throw error;
        if (signal.reason === late) throw new GridError('timeout', `${url.href} did not answer within ${seconds} s`, { cause: error });
        if (signal.aborted) throw new GridError('interrupted', `the call of ${url.href} was interrupted`, { cause: error });
        throw connectionError(url, error as NodeJS.ErrnoException);
      }
    }
  }

  /** Asks for another protocol on a connection of its own (101), and returns that connection. Other answers become their GridError. */
  async upgrade(path: string, protocol: string, call: CallOptions = {}): Promise<Duplex> {
    const seconds = call.seconds ?? this.#options.seconds ?? 60;
    const url = new URL(path, this.#options.url);
    return new Promise((resolve, reject) => {
      const request = httpsRequest(url, { headers: { Connection: 'Upgrade', Upgrade: protocol }, agent: this.#agent, ...(call.signal ? { signal: call.signal } : {}) });
      const late = setTimeout(() => request.destroy(new GridError('timeout', `${url.href} did not answer within ${seconds} s`)), seconds * 1000);
      const fail = (error: Error): void => {
        clearTimeout(late);
        if (error instanceof GridError) reject(error);
        else if (call.signal?.aborted) reject(new GridError('interrupted', `the call of ${url.href} was interrupted`, { cause: error }));
        else reject(connectionError(url, error));
      };
      request.once('upgrade', (_response, socket: Socket, head) => {
        clearTimeout(late);
        socket.setNoDelay(true);
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      request.once('response', (response) => readAnswer(response).then((body) => fail(errorFromHttp(response.statusCode ?? 0, body)), fail));
      request.once('error', fail);
      request.end();
    });
  }

  /** Closes the kept connections. */
  close(): void {
    this.#agent.destroy();
  }
}

async function readAnswer(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxAnswer) throw new GridError('too-large', `the answer is larger than ${maxAnswer} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What went wrong below HTTP, for a person. */
function connectionError(url: URL, error: NodeJS.ErrnoException): GridError {
  const code = error.code ?? '';
  if (/^(CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|ERR_TLS_CERT|INVALID_CA|HOSTNAME_)/.test(code) || error.message.startsWith('unable to verify')) {
    return new GridError('not-authenticated', `the certificate of ${url.origin} was refused: ${error.message}`, { hint: 'is its CA in the trust directory (X509_CERT_DIR), and is this the right host?', cause: error });
  }
  if (/ALERT|SSL_|EPROTO/.test(code)) {
    return new GridError('not-authenticated', `${url.origin} ended the TLS handshake: ${error.message}`, { hint: 'is your certificate or proxy valid? gridvc proxy info', cause: error });
  }
  return new GridError('unavailable', `${url.href} does not answer: ${code || error.message}`, { hint: 'is it running, and is the address right?', cause: error });
}
