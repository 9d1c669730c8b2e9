/**
 * Between the wire of GRAM (server, messages, callbacks, GASS) and its jobs: two interfaces, one each way.
 * Codes and states are the protocol's own (protocol.ts; GRAM5.md sections 6.8 and 8).
 */
import type { Caller } from '../../src/domain/views.js';

/** What the client delegated: PEM chain (new proxy first) and its key, for callbacks, GASS and the job's X509_USER_PROXY. */
export interface JobCredential {
  readonly chain: string;
  readonly key: string;
  readonly notAfter: Date;
  readonly limited: boolean;
}

export interface Submission {
  readonly caller: Caller;
  /** RSL text as it came. */
  readonly rsl: string;
  /** From the request line: "jobmanager", "jobmanager-fork"... (server.ts lists them). */
  readonly service: string;
  /** Callback URL ("" is undefined) and the mask of states it wants. */
  readonly callback?: { readonly url: string; readonly mask: number };
  readonly credential?: JobCredential;
}

/** `status` 0, 110 (two-phase: contact given, waits for commit) or 41 (dry run), or an error code with a text for people. */
export interface SubmitAnswer {
  readonly status: number;
  /** Path of the job contact, "/JOBID/SECRETISH/"; the wire makes the whole contact of it. */
  readonly path?: string;
  readonly text?: string;
}

export interface QueryAnswer {
  /** GRAM state, 0 if there is no such job. */
  readonly state: number;
  /** Why the query failed, 0 if it did not (156: no such job; 162: not yours). */
  readonly failureCode: number;
  readonly jobFailureCode: number;
  readonly exitCode?: number;
  readonly text?: string;
}

/** Implemented by the jobs (gram-jobs), called by the wire (gram-wire). Nothing here rejects for what a client did: that is a code. */
export interface GramJobs {
  submit(submission: Submission): Promise<SubmitAnswer>;
  /** Called once the reply to `submit` left (or could not): callbacks may start now. */
  submitted(path: string): void;
  status(caller: Caller, path: string): Promise<QueryAnswer>;
  cancel(caller: Caller, path: string): Promise<QueryAnswer>;
  register(caller: Caller, path: string, callback: { readonly url: string; readonly mask: number }): Promise<QueryAnswer>;
  unregister(caller: Caller, path: string, url: string): Promise<QueryAnswer>;
  signal(caller: Caller, path: string, signal: number, argument: string): Promise<QueryAnswer>;
  /** The new credential of a renewal (globusrun -y). The wire asked `status` before and delegates only if that had failureCode 0. */
  renew(caller: Caller, path: string, credential: JobCredential): Promise<QueryAnswer>;
}

export interface JobState {
  /** The path of the contact. */
  readonly path: string;
  readonly state: number;
  readonly failureCode: number;
  readonly exitCode?: number;
  readonly text?: string;
}

/** Implemented by the wire, used by the jobs. Each authenticates as the user and insists that the other end is the same user. */
export interface Couriers {
  /** One callback; "gone" if nobody listens there any more (the contact is then dropped). 10 s deadline. */
  callback(url: string, credential: JobCredential, state: JobState): Promise<'delivered' | 'gone'>;
  /** Appends to a GASS URL (https://client:port/dev/stdout, or a file path: PUT) as the bytes come. Empty input sends nothing. Rejects `unavailable`. */
  append(url: string, credential: JobCredential, bytes: AsyncIterable<Uint8Array>): Promise<void>;
  /** One piece, not empty, in one write. `left` is called as soon as the system has it all: it arrives even if this process dies then. Rejects as `append`. */
  appendPiece(url: string, credential: JobCredential, piece: Uint8Array, left: () => void): Promise<void>;
  /** Reads a GASS URL (executable, stdin), at most `most` bytes. Rejects `not-found`, `unavailable`, `bad-request` when it is larger. */
  read(url: string, credential: JobCredential, most: number): Promise<Uint8Array>;
}
