/**
 * The head's HTTPS endpoint: HeadService on wsdl/head.wsdl, for the one gatekeeper that the site's configuration
 * names, and HeadAdmin on wsdl/admin.wsdl, for its administrators. Every other subject, however well certified, is refused.
 */
import type { ServerOptions } from 'node:https';
import type { TLSSocket } from 'node:tls';
import express from 'express';
import { GridError } from '../domain/error.js';
import type { PartSpec } from '../domain/node.js';
import type { RequestFile } from '../domain/request.js';
import type { Log } from '../log.js';
import type { HeadAdmin, HeadService } from '../ports.js';
import type { headOperations, WirePartSpec } from '../soap/contract.js';
import { fileFromWire, services } from '../soap/contract.js';
import { listenHttps } from '../soap/https.js';
import type { Handlers } from '../soap/server.js';
import { mountSoap } from '../soap/server.js';
import { adminHandlers, checkAdministrator } from './admin-soap.js';

export interface HeadServerOptions {
  readonly host: string;
  readonly port: number;
  /** Certificate and key, and client certificates asked for but not judged by Node (src/pki/tls.ts). */
  readonly tls: ServerOptions;
  /** Subject DN of the caller after its chain was validated; throws not-authenticated. */
  readonly subjectOf: (socket: TLSSocket) => Promise<string> | string;
  /** Subject DN of the gatekeeper. */
  readonly gatekeeper: string;
  readonly service: HeadService;
  readonly admin: HeadAdmin;
  /** Subject DNs: the head's own, and those of its configuration. */
  readonly administrators: readonly string[];
  /** Ends what an administrator waits for. */
  readonly stopping?: AbortSignal;
  /** Largest body in bytes, default 128 MiB: a part holds the uploads of its request, in base64. */
  readonly bodyBytes?: number;
  readonly log: Log;
}

/** Serves POST /soap/head and /soap/admin (+ ?wsdl) and GET /healthz; resolves when it listens. */
export async function serveHead(options: HeadServerOptions): Promise<{ port: number; close(graceSeconds?: number): Promise<void> }> {
  const { log, gatekeeper } = options;
  const app = express();
  app.disable('x-powered-by').disable('etag');
  app.get('/healthz', (_request, response) => void response.json({ ok: true }));
  await mountSoap(app, {
    service: services.head,
    path: '/soap/head',
    handlers: headHandlers(options.service),
    identify: async (request) => {
      const subject = await options.subjectOf(request.socket as TLSSocket);
      if (subject !== gatekeeper) throw new GridError('not-authorized', `${subject} may not call this head`, { hint: `only ${gatekeeper} may (setting "gatekeeper")` });
    },
    bodyBytes: options.bodyBytes ?? 128 * 1024 * 1024,
    log,
  });
  await mountSoap(app, {
    service: services.admin,
    path: '/soap/admin',
    handlers: adminHandlers(options.admin, options.stopping ?? new AbortController().signal),
    identify: async (request) => checkAdministrator(await options.subjectOf(request.socket as TLSSocket), options.administrators),
    log,
  });
  app.use((_request, response) => void response.status(404).type('text/plain').send('a gridvc head: SOAP is at /soap/head and /soap/admin\n'));
  const listener = await listenHttps(app, { host: options.host, port: options.port, tls: options.tls, log });
  return { port: listener.port, close: listener.close };
}

function headHandlers(head: HeadService): Handlers<typeof headOperations, void> {
  return {
    snapshot: async () => ({ snapshot: await head.snapshot() }),
    plan: async (_, { request, nodes }) => ({ plan: await head.plan(request, nodes) }),
    check: async (_, { request }) => {
      await head.check(request);
      return {};
    },
    createPart: async (_, { spec }) => ({ part: await head.createPart(partSpec(spec)) }),
    getPart: async (_, { cluster }) => ({ part: await head.getPart(cluster) }),
    awaitPartEvents: async (_, { cluster, after, seconds }) => ({ events: await head.awaitPartEvents(cluster, after, seconds) }),
    confirmPart: async (_, { cluster, stages, readyNodes }) => ({ part: await head.confirmPart(cluster, stages, readyNodes) }),
    extendPart: async (_, { cluster, expires }) => ({ part: await head.extendPart(cluster, expires) }),
    nodeConsole: async (_, { cluster, node }) => ({ text: await head.nodeConsole(cluster, node) }),
    destroyPart: async (_, { cluster }) => ({ part: await head.destroyPart(cluster) }),
  };
}

function partSpec(spec: WirePartSpec): PartSpec {
  const files = spec.files.map((file): RequestFile => {
    const read = fileFromWire(file);
    if (!read) throw new GridError('bad-request', `createPart/spec/files: the source of ${JSON.stringify(file.path.slice(0, 80))} must have base64 if it is inline, id if it is an upload`);
    return read;
  });
  return { ...spec, files };
}
