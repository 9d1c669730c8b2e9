/**
 * The gatekeeper's front door: one HTTPS server, every route in one list. It decides nothing: callers come from
 * `authenticate`, answers from the services passed in.
 *
 *   POST /soap/cluster, /soap/site   SOAP (GET ?wsdl: the contract)     GET /healthz   for watchdogs, no certificate
 *   PUT  /files                      a file for a later request         GET /tunnel/<cluster>/<node>, Upgrade: gridvc-tunnel
 */
import type { IncomingMessage } from 'node:http';
import type { ServerOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import express from 'express';
import type { Express, NextFunction, Request, Response } from 'express';
import { GridError, isGridError } from '../src/domain/error.js';
import { isName } from '../src/domain/names.js';
import type { Caller } from '../src/domain/views.js';
import type { Log } from '../src/log.js';
import type { NodeDialer, UploadStore } from '../src/ports.js';
import { faultJson, httpStatus, presentable } from '../src/soap/fault.js';
import { listenHttps } from '../src/soap/https.js';
import { drain } from '../src/soap/server.js';
import type { GatekeeperServices } from './soap.js';
import { mountServices } from './soap.js';

/** Who is at the other end of a connection, now (expiry, bans and CRLs are looked at each time). Throws not-authenticated, not-authorized. */
export type Authenticate = (socket: TLSSocket) => Promise<Caller> | Caller;

export interface GatekeeperServerOptions {
  readonly host: string;
  readonly port: number;
  /** Certificate and key, and client certificates asked for but not judged by Node (src/pki/tls.ts). */
  readonly tls: ServerOptions;
  readonly authenticate: Authenticate;
  readonly services: GatekeeperServices;
  readonly uploads: UploadStore;
  readonly dialer: NodeDialer;
  /** Largest SOAP body in bytes (default 1 MiB); connections at once (default 2000); seconds between two looks at who holds a tunnel (default 10). */
  readonly limits?: { readonly bodyBytes?: number; readonly connections?: number; readonly tunnelCheck?: number };
  /** More routes (portal), mounted before the 404. */
  readonly extend?: (app: Express, identify: (request: IncomingMessage) => Promise<Caller>) => void;
  readonly log: Log;
}

export interface GatekeeperServer {
  readonly port: number;
  /** Stops taking connections, lets requests end for `graceSeconds`, cuts tunnels and the rest. */
  close(graceSeconds?: number): Promise<void>;
}

/** Starts the server; resolves when it listens. */
export async function serveGatekeeper(options: GatekeeperServerOptions): Promise<GatekeeperServer> {
  const { log } = options;
  const identify = async (request: IncomingMessage): Promise<Caller> => options.authenticate(request.socket as TLSSocket);
  const app = express();
  app.disable('x-powered-by').disable('etag');
  app.get('/healthz', (_request, response) => void response.json({ ok: true }));
  await mountServices(app, { services: options.services, identify, bodyBytes: options.limits?.bodyBytes, log });
  app.put('/files', async (request, response) => {
    const caller = await identify(request);
    // a refusal in the middle must leave the connection, or the client never sees it
    response.status(201).json(await options.uploads.put(caller, request.iterator({ destroyOnReturn: false })));
  });
  options.extend?.(app, identify);
  app.use((request) => {
    throw new GridError('not-found', `nothing is at ${request.method} ${request.path.slice(0, 200)}`, { hint: 'SOAP is at /soap/cluster and /soap/site, files go to PUT /files' });
  });
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    const shown = presentable(httpParserError(error) ?? error, log);
    drain(request);
    if (response.headersSent) response.destroy();
    else response.status(httpStatus(shown.kind)).json(faultJson(shown));
  });

  const listener = await listenHttps(app, { host: options.host, port: options.port, tls: options.tls, ...(options.limits?.connections === undefined ? {} : { connections: options.limits.connections }), log });
  listener.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', (error) => log.debug({ err: error }, 'tunnel connection'));
    openTunnel({ request, socket, head, identify, dialer: options.dialer, checkSeconds: options.limits?.tunnelCheck ?? 10 }).catch((error: unknown) => refuseUpgrade(socket, presentable(error, log)));
  });
  return { port: listener.port, close: listener.close };
}

/** Express refuses some paths itself (bad percent-encoding): the client's fault, not ours. */
function httpParserError(error: unknown): GridError | undefined {
  const status = (error as { status?: unknown }).status;
  return error instanceof URIError || status === 400 ? new GridError('bad-request', 'the address of the request is malformed') : undefined;
}

interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly identify: (request: IncomingMessage) => Promise<Caller>;
  readonly dialer: NodeDialer;
  readonly checkSeconds: number;
}

/** Authenticates, dials the node, answers 101 and joins both streams until either ends. */
async function openTunnel({ request, socket, head, identify, dialer, checkSeconds }: Upgrade): Promise<void> {
  const [, cluster = '', node = ''] = /^\/tunnel\/([^/?]+)\/([^/?]+)$/.exec(request.url ?? '') ?? [];
  if (request.headers.upgrade?.toLowerCase() !== 'gridvc-tunnel') throw new GridError('bad-request', 'the only protocol to upgrade to is gridvc-tunnel');
  const caller = await identify(request);
  if (!isName('cluster', cluster) || !isName('node', node)) throw new GridError('not-found', 'a tunnel is at /tunnel/<cluster>/<node>', { hint: 'e.g. /tunnel/k3x9q2ab/n1' });
  const stream = await dialer.dial(caller, cluster, node);
  if (socket.destroyed) return void stream.destroy(); // the client left while we dialled
  const check = setInterval(() => void stillWelcome(identify, request, caller).then((welcome) => welcome || socket.destroy()), checkSeconds * 1000);
  socket.once('close', () => {
    clearInterval(check);
    stream.destroy();
  });
  stream.once('error', () => socket.destroy());
  stream.once('close', () => socket.end());
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: gridvc-tunnel\r\n\r\n');
  if (head.length > 0) stream.write(head);
  socket.pipe(stream).pipe(socket);
}

/** A ban or a revocation ends an open tunnel, a credential that ran out does not: a login outlives its proxy as it does everywhere in the grid. */
async function stillWelcome(identify: Upgrade['identify'], request: IncomingMessage, caller: Caller): Promise<boolean> {
  try {
    await identify(request);
    return true;
  } catch (error) {
    const refused = isGridError(error) && (error.kind === 'not-authorized' || error.kind === 'not-authenticated');
    return !refused || Date.now() >= caller.notAfter;
  }
}

function refuseUpgrade(socket: Duplex, error: GridError): void {
  const body = JSON.stringify(faultJson(error));
  socket.end(`HTTP/1.1 ${httpStatus(error.kind)} Refused\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}
