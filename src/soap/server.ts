/**
 * Serves one service of the contract on an Express application.
 *
 * The `soap` package keeps the WSDL, the dispatch, the envelope and the HTTP answer. Reading and writing of values are
 * ours (xml.ts, shape.ts): its reader is not strict (see xml.ts), and its writer puts the children of imported types in the
 * wrong namespace (and takes 460 us for a cluster of 50 nodes, ours 60 us). Both are put in by its own means: a subclass of WSDL, and results given as `{ _xml }`.
 * A body is parsed once. Rules: size and content type are checked before that; the SOAPAction header is not looked at.
 */
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { Express, Request, Response } from 'express';
import { GridError } from '../domain/error.js';
import type { Log } from '../log.js';
import type { Operation, Operations, Service } from './contract.js';
import { typesNamespace } from './contract.js';
import { faultStatus, faultXml, presentable } from './fault.js';
import type { Value } from './shape.js';
import { readShape, writeFields } from './shape.js';
import { envelopeNamespace, plainPayload, readEnvelope } from './envelope.js';
import { decodeUtf8, escapeXml } from './xml.js';

/** One function an operation: the caller and the checked input -> the output. */
export type Handlers<O extends Operations, Who> = {
  readonly [K in keyof O]: (caller: Who, input: Value<O[K]['input']>) => Promise<Value<O[K]['output']>>;
};

export interface SoapMount<O extends Operations, Who> {
  readonly service: Service<O>;
  /** E.g. /soap/cluster; types.xsd is served beside it. */
  readonly path: string;
  readonly handlers: Handlers<O, Who>;
  /** Who calls; runs before the body is read. Its GridErrors become faults. */
  readonly identify: (request: IncomingMessage) => Promise<Who> | Who;
  /** Largest body in bytes, default 1 MiB. */
  readonly bodyBytes?: number;
  readonly log: Log;
}

/** A request on its way through the `soap` package, which hands it to the handler. */
interface Passing extends Request {
  soapCall?: { caller: unknown; operation: string };
}

const wsdlDirectory = new URL('../../../wsdl/', import.meta.url);

/** Mounts the service; resolves once the WSDL is read. Throws if the WSDL is broken or lacks an operation. */
export async function mountSoap<O extends Operations, Who>(app: Express, mount: SoapMount<O, Who>): Promise<void> {
  const { service, path } = mount;
  const soap = await import('soap'); // 0.2 s: only servers pay for it
  const file = new URL(`${service.wsdl}.wsdl`, wsdlDirectory);
  const wsdl = await readFile(file, 'utf8');
  const types = await readFile(new URL('types.xsd', wsdlDirectory), 'utf8');

  app.get(new URL('types.xsd', `http://x${path}`).pathname, (_request, response) => void response.type('text/xml').send(types));
  app.get(path, (request, response) => sendWsdl(request, response, wsdl, path));
  app.post(path, (request, response, next) => admit(request as Passing, response, mount).then((ready) => (ready ? next() : undefined), next));
  app.all(path, (request, response, next) => {
    if (request.method === 'POST') next();
    else response.status(405).set('Allow', 'GET, POST').type('text/plain').send('POST a SOAP 1.1 envelope, or GET ?wsdl\n');
  });

  class StrictWsdl extends soap.WSDL {
    override xmlToObject(text: unknown): unknown {
      return readRequest(String(text), service, mount.log);
    }
  }
  const definition = new StrictWsdl(wsdl, file.pathname, {});
  const methods = { [service.name]: { [service.name]: soapMethods(mount) } };
  await new Promise<void>((resolve, reject) => {
    const callback = (error: unknown): void => (error ? reject(new Error(`${file.pathname} is not a WSDL that can be served`, { cause: error })) : resolve());
    new soap.Server(app, path, methods, definition, { path, services: methods, suppressStack: true, enableChunkedEncoding: false, callback });
  });
}

/** Size, content type and caller, before a byte is parsed; leaves the body where the `soap` package looks for it. */
async function admit<O extends Operations, Who>(request: Passing, response: Response, mount: SoapMount<O, Who>): Promise<boolean> {
  const started = performance.now();
  try {
    request.soapCall = { caller: await mount.identify(request), operation: '' };
    checkContentType(request);
    request.body = await readBody(request, mount.bodyBytes ?? 1024 * 1024);
    delete request.headers['soapaction']; // the body says what is asked; a header that disagrees must not matter
    request.headers['content-type'] = 'text/xml; charset=utf-8'; // the `soap` package answers with the type of the question
    mount.log.debug({ path: mount.path, bytes: request.body.length, ms: performance.now() - started }, 'soap request');
    return true;
  } catch (error) {
    const shown = presentable(error, mount.log);
    drain(request);
    const xml = `<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="${envelopeNamespace}"><soap:Body>${faultXml(shown)}</soap:Body></soap:Envelope>`;
    response.status(faultStatus(shown.kind)).type('text/xml').send(xml);
    return false;
  }
}

/** Reads on and forgets, so that the client gets to see the answer; gives up on one that sends without end. */
export function drain(request: IncomingMessage): void {
  let bytes = 0;
  request.removeAllListeners('data').on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > 64 * 1024 * 1024) request.destroy();
  });
  request.resume();
}

function checkContentType(request: IncomingMessage): void {
  const given = request.headers['content-type'] ?? '';
  const [type, ...parameters] = given.toLowerCase().split(';').map((part) => part.trim());
  if (type !== 'text/xml' && type !== 'application/xml') {
    throw new GridError('bad-request', `the content type ${JSON.stringify(given.slice(0, 80))} is not SOAP 1.1`, { hint: 'send Content-Type: text/xml; charset=utf-8' });
  }
  const charset = parameters.find((part) => part.startsWith('charset='))?.slice(8).replaceAll('"', '');
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8' && charset !== 'us-ascii') {
    throw new GridError('bad-request', `the charset ${JSON.stringify(charset.slice(0, 40))} is not read`, { hint: 'send UTF-8' });
  }
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') throw new GridError('bad-request', `the content encoding ${JSON.stringify(encoding.slice(0, 40))} is not read`, { hint: 'send the body as it is' });
}

/** The whole body, at most `limit` bytes, as text for the reader. */
async function readBody(request: IncomingMessage, limit: number): Promise<string> {
  const tooLarge = (): GridError => new GridError('too-large', `the body is larger than ${limit} bytes`, { hint: 'send large files by HTTPS PUT /files and name the upload in the request' });
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > limit) reject(tooLarge());
      else chunks.push(chunk);
    });
    request.once('error', (error) => reject(new GridError('interrupted', 'the connection ended before the body did', { cause: error })));
    request.once('end', () => {
      try {
        const text = decodeUtf8(Buffer.concat(chunks));
        if (text === '') throw new GridError('bad-request', 'the body is empty', { hint: 'POST a SOAP 1.1 envelope' });
        resolve(text);
      } catch (error) {
        reject(error as Error);
      }
    });
  });
}

/** Stands in for WSDL.xmlToObject: what it returns is dispatched by the name of the one element in Body. */
function readRequest(text: string, service: Service, log: Log): unknown {
  try {
    const payload = readEnvelope(text);
    if (!Object.hasOwn(service.operations, payload.name) || payload.namespace !== service.namespace) {
      throw new GridError('bad-request', `unknown operation ${JSON.stringify(payload.name.slice(0, 80))} in the namespace ${JSON.stringify(payload.namespace.slice(0, 100))}`, {
        hint: `${service.name} has, in ${service.namespace}: ${Object.keys(service.operations).join(', ')}`,
      });
    }
    const operation = service.operations[payload.name]!;
    return { Body: { [payload.name]: readShape(operation.input, plainPayload(payload, typesNamespace), payload.name) } };
  } catch (error) {
    throw soapFault(presentable(error, log));
  }
}

/** The methods as the `soap` package calls them. */
function soapMethods<O extends Operations, Who>(mount: SoapMount<O, Who>): Record<string, (input: object, callback: unknown, headers: unknown, request: unknown) => Promise<object>> {
  const { service, log } = mount;
  const methods = Object.entries<Operation>(service.operations).map(([name, operation]) => {
    const handler = mount.handlers[name] as unknown as (caller: unknown, input: object) => Promise<object>;
    const fields = operation.output.fields ?? {};
    const method = async (input: object, _callback: unknown, _headers: unknown, request: unknown): Promise<object> => {
      const started = performance.now();
      try {
        const output = await handler((request as Passing).soapCall?.caller, input);
        const xml = `<s:${name}Response xmlns:s="${service.namespace}" xmlns="${typesNamespace}">${writeFields(fields, output, 's:')}</s:${name}Response>`;
        log.debug({ operation: name, ms: performance.now() - started }, 'soap answer');
        return { _xml: xml };
      } catch (error) {
        const shown = presentable(error, log);
        log.info({ operation: name, kind: shown.kind, detail: shown.message, ms: performance.now() - started }, 'soap fault');
        throw soapFault(shown);
      }
    };
    return [name, method] as const;
  });
  return Object.fromEntries(methods);
}

/** A fault in the form that the `soap` package recognizes. */
function soapFault(error: GridError): { Fault: object } {
  return { Fault: { _xml: faultXml(error), faultcode: '', statusCode: faultStatus(error.kind) } };
}

/** The WSDL with the address under which this client reached us. */
function sendWsdl(request: Request, response: Response, wsdl: string, path: string): void {
  if (!/^wsdl$/i.test(request.url.split('?')[1]?.split('=')[0] ?? '')) {
    response.status(405).set('Allow', 'POST').type('text/plain').send(`POST a SOAP 1.1 envelope here; the contract is at ${path}?wsdl\n`);
    return;
  }
  const host = request.headers.host ?? '';
  const address = /^[A-Za-z0-9._\-[\]:]{1,255}$/.test(host) ? `https://${host}${path}` : undefined;
  const served = address === undefined ? wsdl : wsdl.replace(/(<soap:address location=")[^"]*"/, (_all, start: string) => `${start}${escapeXml(address)}"`);
  response.type('text/xml').send(served);
}
