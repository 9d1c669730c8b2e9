/**
 * GRAM's door (port 2119): connections, their time and number, TLS. What is said on one is in conversation.ts.
 *
 *   framed (gatekeeper: ping, version, submit)   TLS 1.2: Node's two session tickets of 1.3 break the clients' delegation
 *   plain  (queries of a job)                    TLS 1.2 or 1.3
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createSecureContext, TLSSocket, type SecureContext } from 'node:tls';
import { GridError, isGridError } from '../../src/domain/error.js';
import { tlsServerOptions } from '../../src/pki/tls.js';
import { converse, type Room } from './conversation.js';
import { KeyPool } from './delegation.js';
import { GsiStream } from './framing.js';
import { Guests, type GuestLimits } from './guests.js';
import type { Traffic } from './traffic.js';

export interface GramLimits extends GuestLimits {
  /** Seconds without a byte of the client while its request is awaited, and until it must be in. */
  readonly idleSeconds: number;
  readonly requestSeconds: number;
}

export interface GramServerOptions extends Omit<Room, 'keys' | 'services'> {
  readonly host: string;
  readonly port: number;
  /** PEM of the host certificate (with its chain) and key. */
  readonly certificate: string;
  readonly key: string;
  readonly limits?: Partial<GramLimits>;
  /** Is told who comes and goes. */
  readonly traffic?: Traffic;
}

export interface GramServer {
  readonly port: number;
  /** Takes no more connections, drops those whose request is not in, lets the others end for `graceSeconds` (default 2). Repeatable. */
  close(graceSeconds?: number): Promise<void>;
}

/** As a client may name the service: the default of the clients, the original's usual ones, and our own name. */
const services: ReadonlySet<string> = new Set(['jobmanager', 'jobmanager-fork', 'jobmanager-poll', 'jobmanager-gridvc']);
const usual: GramLimits = { connections: 2000, perAddress: 500, idleSeconds: 60, requestSeconds: 600 };
/** Seconds that a client has to take its reply. */
const lingerSeconds = 30;

/** Listens; `unavailable` naming host and port if it cannot. */
export async function serveGram(options: GramServerOptions): Promise<GramServer> {
  const { host, port, certificate, key, log } = options;
  const limits = { ...usual, ...options.limits };
  const guests = new Guests(limits);
  const room: Room = { ...options, keys: new KeyPool(), services };
  const { minVersion, secureOptions } = tlsServerOptions;
  const shared = { cert: certificate, key, minVersion, secureOptions, honorCipherOrder: true };
  const contexts: Contexts = { framed: createSecureContext({ ...shared, maxVersion: 'TLSv1.2' }), plain: createSecureContext(shared) };
  await room.keys.fill();

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    socket.on('error', (error) => log.debug({ err: error }, 'GRAM connection'));
    if (guests.admit(socket)) welcome(socket, { room, contexts, limits, guests, traffic: options.traffic });
    else socket.destroy();
  });
  await listen(server, host, port);
  server.on('error', (error) => log.error({ err: error }, 'GRAM server'));

  let closing: Promise<void> | undefined;
  const close = async (graceSeconds: number): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    guests.cut('waiting');
    const cut = setTimeout(() => guests.cut('all'), graceSeconds * 1000);
    await closed;
    clearTimeout(cut);
  };
  return { port: (server.address() as AddressInfo).port, close: (graceSeconds = 2) => (closing ??= close(graceSeconds)) };
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new GridError('unavailable', `cannot listen on ${host}:${port}: ${error.message}`, { hint: 'is a gatekeeper already running there (Globus or gridvc)?', cause: error })));
    server.listen({ host, port, backlog: 1024 }, resolve);
  });
}

interface Contexts {
  readonly framed: SecureContext;
  readonly plain: SecureContext;
}

interface Door {
  readonly room: Room;
  readonly contexts: Contexts;
  readonly limits: GramLimits;
  readonly guests: Guests;
  readonly traffic: Traffic | undefined;
}

/** Costs a silent connection nothing but its socket: TLS begins with its first byte. */
function welcome(socket: Socket, { room, contexts, limits, guests, traffic }: Door): void {
  socket.setTimeout(limits.idleSeconds * 1000, () => socket.destroy());
  let deadline = setTimeout(() => socket.destroy(), limits.requestSeconds * 1000);
  socket.once('close', () => clearTimeout(deadline));
  const settled = (): void => {
    guests.settle(socket);
    socket.setTimeout(0);
    clearTimeout(deadline);
  };
  const stream = new GsiStream(socket, (framed) => {
    const leave = traffic?.enter();
    if (leave) socket.once('close', leave);
    const tls = new TLSSocket(stream, { isServer: true, secureContext: framed ? contexts.framed : contexts.plain, requestCert: true, rejectUnauthorized: false });
    tls.on('error', (error) => room.log.debug({ err: error }, 'GRAM connection'));
    tls.once('close', () => socket.destroy());
    tls.once('secure', () => {
      converse(tls, room, settled).then(
        () => {
          leave?.();
          if (!socket.destroyed) deadline = setTimeout(() => socket.destroy(), lingerSeconds * 1000);
        },
        (error: unknown) => {
          if (!isGridError(error) && (error as NodeJS.ErrnoException).code === undefined) room.log.error({ err: error }, 'a GRAM connection failed');
          else room.log.debug({ err: error }, 'GRAM connection ended');
          tls.destroy();
        },
      );
    });
  });
  stream.on('error', (error) => room.log.debug({ err: error }, 'GRAM connection'));
}
