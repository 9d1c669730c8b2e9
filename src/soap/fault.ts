/**
 * The one translation between GridError and the outside: SOAP fault code, HTTP status, JSON body, and back.
 * What is not a GridError is a bug: the caller gets a reference, the log the whole story.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { ErrorKind } from '../domain/error.js';
import { errorKinds, GridError, isGridError } from '../domain/error.js';
import type { Log } from '../log.js';
import { gridFault, typesNamespace } from './contract.js';
import type { XmlElement } from './xml.js';
import { plainPayload } from './envelope.js';
import { escapeXml } from './xml.js';

interface Outside {
  /** SOAP 1.1 fault code: whose fault it is. */
  readonly code: 'Client' | 'Server';
  /** Status of plain HTTP answers (PUT /files, tunnels). */
  readonly status: number;
}

const outside: Readonly<Record<ErrorKind, Outside>> = {
  'bad-request': { code: 'Client', status: 400 },
  'too-large': { code: 'Client', status: 413 },
  'not-authenticated': { code: 'Client', status: 401 },
  'not-authorized': { code: 'Client', status: 403 },
  'not-found': { code: 'Client', status: 404 },
  conflict: { code: 'Client', status: 409 },
  'wrong-state': { code: 'Client', status: 409 },
  quota: { code: 'Client', status: 429 },
  'no-capacity': { code: 'Server', status: 503 },
  unavailable: { code: 'Server', status: 503 },
  timeout: { code: 'Server', status: 504 },
  'build-failed': { code: 'Server', status: 500 },
  'disk-full': { code: 'Server', status: 507 },
  interrupted: { code: 'Server', status: 503 },
  internal: { code: 'Server', status: 500 },
};

/** Status for an answer outside SOAP. */
export function httpStatus(kind: ErrorKind): number {
  return outside[kind].status;
}

/**
 * Status of a SOAP fault: 500 (SOAP 1.1, 6.2), since clients such as gSOAP read a fault only from 400 and 500; 413
 * for a body over the limit, which the connection's closing may hide anyway.
 */
export function faultStatus(kind: ErrorKind): number {
  return kind === 'too-large' ? 413 : 500;
}

/** Any error -> a GridError that may be shown. A bug is logged whole, here, under a fresh reference. */
export function presentable(error: unknown, log: Log): GridError {
  if (isGridError(error) && error.kind !== 'internal') return error;
  const reference = (isGridError(error) ? error.reference : undefined) ?? randomBytes(6).toString('hex');
  log.error({ err: error, reference }, 'internal error');
  return new GridError('internal', `internal error, reference ${reference}`, { reference, hint: 'tell the administrator this reference: the log has the whole story under it' });
}

/** The <soap:Fault> element; the prefix `soap` must be bound to the envelope's namespace around it. */
export function faultXml(error: GridError): string {
  const { kind, message, hint, reference } = error;
  const detail = gridFault.write('gridFault', { kind, message, hint, reference }).replace('>', ` xmlns="${typesNamespace}">`);
  return `<soap:Fault><faultcode>soap:${outside[kind].code}</faultcode><faultstring>${escapeXml(message)}</faultstring><detail>${detail}</detail></soap:Fault>`;
}

/** Body of an HTTP answer that is not SOAP. */
export function faultJson(error: GridError): { kind: ErrorKind; message: string; hint?: string; reference?: string } {
  const { kind, message, hint, reference } = error;
  return { kind, message, ...(hint === undefined ? {} : { hint }), ...(reference === undefined ? {} : { reference }) };
}

/** <soap:Fault> -> the GridError that the server threw; a fault without our detail becomes `internal` with its text. */
export function errorFromFault(fault: XmlElement): GridError {
  const detail = fault.children.find((child) => child.name === 'detail')?.children.find((child) => child.name === 'gridFault' && child.namespace === typesNamespace);
  const read = detail && gridFault.schema.safeParse(plainPayload(detail, typesNamespace));
  if (!read?.success) return new GridError('internal', fault.children.find((child) => child.name === 'faultstring')?.text ?? 'a SOAP fault without text');
  return errorFromJson(read.data);
}

/** Counterpart of faultJson: an HTTP answer that is not the one hoped for. */
export function errorFromHttp(status: number, body: Buffer): GridError {
  try {
    return errorFromJson(jsonFault.parse(JSON.parse(body.toString('utf8'))));
  } catch (error) {
    return new GridError('unavailable', `the server answered with status ${status}`, { hint: 'is this the address of a gridvc gatekeeper?', cause: error });
  }
}

const jsonFault = z.strictObject({ kind: z.enum(errorKinds), message: z.string(), hint: z.string().exactOptional(), reference: z.string().exactOptional() });

function errorFromJson(from: { kind: ErrorKind; message: string; hint?: string; reference?: string }): GridError {
  const { kind, message, ...options } = from;
  return new GridError(kind, message, options);
}
