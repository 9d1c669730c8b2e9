/**
 * The one error type inside gridvc. Every failure that a user can understand is a
 * GridError with one of these kinds; src/soap/fault.ts alone translates kinds to SOAP
 * faults and HTTP statuses. Everything else is a bug and becomes `internal`.
 */

export const errorKinds = [
  'bad-request', // the document, an attribute or a value is wrong
  'too-large', // a body, file or count over a limit that the message names
  'not-authenticated', // the certificate chain was refused
  'not-authorized', // known, but may not do this (not in the map, banned, wrong role)
  'not-found', // no such object, or it is another owner's
  'conflict', // same idempotency key with another request; a name already taken
  'wrong-state', // the command does not fit the state; the message names both
  'quota', // over a quota: asked, used, allowed
  'no-capacity', // no site is large enough: asked, free
  'unavailable', // a site, database or host does not answer
  'timeout', // a deadline of ours passed
  'build-failed', // a package or image could not be built
  'disk-full', // no space on a named path
  'interrupted', // cancelled by a signal, a destroy or a shutdown
  'internal', // a bug; logged whole under its reference
] as const;

export type ErrorKind = (typeof errorKinds)[number];

export class GridError extends Error {
  readonly kind: ErrorKind;
  /** What the reader can do next, in one line. */
  readonly hint: string | undefined;
  /** For `internal`: the reference under which the log has the whole story. */
  readonly reference: string | undefined;

  /**
   * @param kind one of the closed set above
   * @param detail what failed, on which node, file or subject, with the limits in the text
   */
  constructor(kind: ErrorKind, detail: string, options: { hint?: string; reference?: string; cause?: unknown } = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GridError';
    this.kind = kind;
    this.hint = options.hint;
    this.reference = options.reference;
  }
}

/**
 * The connection to a host was lost while a command ran: it may be done, half done or not begun, and only looking can tell.
 * Whoever gets it looks (every call to a driver may be repeated), then decides.
 */
export class AnswerUnknown extends GridError {
  constructor(detail: string, options: { cause?: unknown } = {}) {
    super('unavailable', detail, options);
    this.name = 'AnswerUnknown';
  }
}

/** True if `error` is a GridError, of the given kind if one is given. */
export function isGridError(error: unknown, kind?: ErrorKind): error is GridError {
  return error instanceof GridError && (kind === undefined || error.kind === kind);
}
