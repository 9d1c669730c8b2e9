/**
 * A listening HTTPS server with the time limits and the orderly end that gatekeeper and heads share.
 * Slow clients are cut off: 10 s for the TLS handshake, 10 s for the headers, 5 minutes for a whole request.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { Server, ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { GridError } from '../domain/error.js';
import type { Log } from '../log.js';

export interface HttpsListener {
  readonly server: Server;
  /** The port it really has (for port 0). */
  readonly port: number;
  /** Takes no more connections, lets running requests end for `graceSeconds` (default 2), then cuts the rest. Repeatable. */
  close(graceSeconds?: number): Promise<void>;
}

export interface HttpsOptions {
  readonly host: string;
  readonly port: number;
  /** Certificate, key and how clients' certificates are taken (src/pki/tls.ts). */
  readonly tls: ServerOptions;
  /** Largest number of connections at once, default 2000; more are dropped. */
  readonly connections?: number;
  readonly log: Log;
}

/** Listens; `unavailable` naming host and port if it cannot. */
export async function listenHttps(handler: (request: IncomingMessage, response: ServerResponse) => void, options: HttpsOptions): Promise<HttpsListener> {
  const { host, port, tls, log } = options;
  const server = createServer(
    { handshakeTimeout: 10_000, headersTimeout: 10_000, requestTimeout: 300_000, keepAliveTimeout: 65_000, connectionsCheckingInterval: 2_000, noDelay: true, ...tls },
    handler,
  );
  server.maxConnections = options.connections ?? 2000;
  const sockets = new Set<Socket>(); // also those in a handshake and those that were upgraded, which Node does not count
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', (error) => log.debug({ err: error }, 'TLS handshake failed'));

  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new GridError('unavailable', `cannot listen on ${host}:${port}: ${error.message}`, { hint: 'is it already running, or is another program on this port?', cause: error })));
    server.listen(port, host, resolve);
  });
  server.on('error', (error) => log.error({ err: error }, 'HTTPS server'));

  let closing: Promise<void> | undefined;
  const close = async (graceSeconds: number): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const cut = setTimeout(() => sockets.forEach((socket) => socket.destroy()), graceSeconds * 1000);
    await closed;
    clearTimeout(cut);
  };
  return { server, port: (server.address() as AddressInfo).port, close: (graceSeconds = 2) => (closing ??= close(graceSeconds)) };
}
