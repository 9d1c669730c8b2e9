/**
 * What is said on one connection, from the end of the handshake to the reply: the flag of delegation, the delegation, one
 * request, one reply (GRAM5.md 3.4, 4, 6). Jobs' requests and the gatekeeper's come on the same port; the path tells them apart.
 * A client that is refused may finish its delegation first: only then can it read the 403 that tells its user why.
 */
import type { TLSSocket } from 'node:tls';
import { GridError, isGridError } from '../../src/domain/error.js';
import type { Caller } from '../../src/domain/views.js';
import type { Log } from '../../src/log.js';
import { ByteReader } from './byte-reader.js';
import type { Contacts } from './contact.js';
import { credentialFrom, firstCertificate, type DelegationKey, type Identify, type KeyPool } from './delegation.js';
import * as messages from './messages.js';
import type { GramJobs, QueryAnswer, SubmitAnswer } from './port.js';
import { codes, states } from './protocol.js';
import { recentPeerChain } from './recent-chains.js';

export interface Room {
  readonly jobs: GramJobs;
  readonly contacts: Contacts;
  readonly keys: KeyPool;
  /** Names that a request line may have; others get 404. */
  readonly services: ReadonlySet<string>;
  /** Throws not-authenticated, not-authorized. */
  readonly authenticate: (chain: readonly Uint8Array[], now: Date) => Caller;
  readonly identify: Identify;
  readonly log: Log;
}

/** One connection: who is there (or why not), and the two ends of the stream. */
interface Guest {
  readonly who: { readonly caller: Caller } | { readonly refused: GridError };
  readonly chain: readonly Uint8Array[];
  readonly reader: ByteReader;
  /** Sends a reply but for the part that has left already. Resolves when it has left, or cannot. */
  readonly send: (reply: string) => Promise<void>;
  readonly stream: TLSSocket;
}

interface Delegation {
  readonly key: DelegationKey;
  readonly certificate: Uint8Array;
}

const largestCertificate = 32 * 1024;
const largestRenewal = 256 * 1024;
const renewalSeconds = 60;
/** Of a body that is too large, this much is read and dropped, so that the client lives to read the refusal. */
const mostDrained = 4 * 1024 * 1024;

/** @param settled called when the request is in. Rejects if the client goes or speaks something else; the caller closes. */
export async function converse(stream: TLSSocket, room: Room, settled: () => void): Promise<void> {
  const reader = new ByteReader(stream);
  const chain = recentPeerChain(stream);
  const who = recognize(chain, room);
  let early = false;
  const send = (reply: string): Promise<void> => sent(stream, early ? reply.slice(messages.replyStart.length) : reply);
  const guest: Guest = { who, chain, reader, send, stream };

  const flag = await reader.peek();
  const delegation = flag === letter('D') ? await acceptDelegation(guest, room) : undefined;
  if (flag === letter('0')) await reader.take(1);
  else if (flag !== letter('D') && flag !== letter('P')) throw new GridError('bad-request', `a GRAM connection begins with 0, D or POST, not with byte ${flag}`);
  if (flag !== letter('P')) {
    stream.write(messages.replyStart); // carries the acknowledgement that the client's Nagle waits for: 40 ms
    early = true;
  }
  const head = messages.readRequestHead(await reader.until('\r\n\r\n', messages.limits.headBytes));
  const body = head.length > messages.limits.bodyBytes ? undefined : await reader.take(head.length);
  if (body === undefined) await reader.drain(Math.min(head.length, mostDrained));
  settled();
  await answer(guest, room, { target: head.target, body, delegation });
  stream.end();
}

function letter(text: string): number {
  return text.charCodeAt(0);
}

function recognize(chain: readonly Uint8Array[], { authenticate }: Room): Guest['who'] {
  try {
    return { caller: authenticate(chain, new Date()) };
  } catch (error) {
    if (error instanceof GridError) return { refused: error };
    throw error;
  }
}

async function acceptDelegation({ reader, stream }: Guest, { keys }: Room): Promise<Delegation> {
  const key = await keys.take();
  await reader.take(1);
  stream.write(key.request);
  return { key, certificate: await reader.derSequence(largestCertificate) };
}

// ---------------------------------------------------------------- requests

interface Request {
  readonly target: string;
  /** Undefined if it was too large. */
  readonly body: Uint8Array | undefined;
  readonly delegation: Delegation | undefined;
}

async function answer(guest: Guest, room: Room, request: Request): Promise<void> {
  const { log } = room;
  if ('refused' in guest.who) {
    log.info({ reason: guest.who.refused.message, target: request.target }, 'GRAM request refused');
    return guest.send(messages.refusal(403));
  }
  const { caller } = guest.who;
  try {
    if (request.target.endsWith('/')) return await answerJob(guest, room, { ...request, caller });
    return await answerGatekeeper(guest, room, { ...request, caller });
  } catch (error) {
    if (isGridError(error, 'interrupted')) throw error;
    log.error({ err: error, subject: caller.subject, target: request.target }, 'a GRAM request failed');
    return guest.send(messages.refusal(500));
  }
}

async function answerGatekeeper(guest: Guest, room: Room, request: Request & { caller: Caller }): Promise<void> {
  const { caller, body } = request;
  const target = messages.readTarget(request.target);
  if (!target || !room.services.has(target.service)) return guest.send(messages.refusal(404));
  const why = whyNot(caller, target.account);
  if (why !== undefined) {
    room.log.info({ subject: caller.subject, reason: why }, 'GRAM request refused');
    return guest.send(messages.refusal(403));
  }
  if (target.ping) return guest.send(messages.pingReply);
  if (body === undefined) return guest.send(messages.submitReply({ status: codes.protocolFailed, text: `the request is larger than ${messages.limits.bodyBytes} bytes` }, undefined));
  const command = readOr(() => messages.readCommand(body));
  if (command instanceof GridError) return guest.send(messages.submitReply({ status: codes.httpUnpackFailed, text: command.message }, undefined));
  if (command.kind === 'version') return guest.send(messages.versionReply());
  const submitted = await submit(guest, room, { ...request, service: target.service, command });
  const { path } = submitted;
  await guest.send(messages.submitReply(submitted, path === undefined ? undefined : room.contacts.of(path)));
  if (path !== undefined) room.jobs.submitted(path);
}

/** Why a known caller may not use the gatekeeper this way. */
function whyNot(caller: Caller, account: string | undefined): string | undefined {
  if (caller.limited) return 'a limited proxy may not start jobs';
  if (account !== undefined && account !== caller.account) return `it is mapped to ${caller.account}, not to ${account}`;
  return undefined;
}

async function submit(guest: Guest, room: Room, { caller, service, delegation, command }: Request & { caller: Caller; service: string; command: messages.Command & { kind: 'submit' } }): Promise<SubmitAnswer> {
  if (delegation === undefined) return { status: codes.userProxyNotFound };
  const credential = readOr(() => credentialFrom({ caller, ...delegation, above: guest.chain }, room.identify));
  if (credential instanceof GridError) return { status: codes.delegationFailed, text: credential.message };
  const answer = await room.jobs.submit({ caller, rsl: command.rsl, service, credential, ...(command.callback ? { callback: command.callback } : {}) });
  room.log.info({ subject: caller.subject, status: answer.status, job: answer.path?.split('/')[1] }, 'GRAM submit');
  return answer;
}

// ---------------------------------------------------------------- queries of a job

async function answerJob(guest: Guest, room: Room, { caller, target, body }: Request & { caller: Caller }): Promise<void> {
  const query = body === undefined ? new GridError('bad-request', 'too large') : readOr(() => messages.readQuery(body));
  if (isGridError(query, 'wrong-state')) return guest.send(messages.queryReply(failed(codes.versionMismatch)));
  if (query instanceof GridError) return guest.send(messages.refusal(400));
  const path = room.contacts.pathOf(target);
  if (path === undefined) return guest.send(messages.queryReply({ ...failed(codes.jobContactNotFound), state: states.none }));
  if (query.kind === 'renew') {
    const late = setTimeout(() => guest.stream.destroy(), renewalSeconds * 1000);
    return renew(guest, room, caller, path).finally(() => clearTimeout(late));
  }
  return guest.send(messages.queryReply(await ask(room.jobs, caller, path, query)));
}

function ask(jobs: GramJobs, caller: Caller, path: string, query: Exclude<messages.Query, { kind: 'renew' }>): Promise<QueryAnswer> | QueryAnswer {
  switch (query.kind) {
    case 'status':
      return jobs.status(caller, path);
    case 'cancel':
      return jobs.cancel(caller, path);
    case 'register':
      return jobs.register(caller, path, { url: query.url, mask: query.mask });
    case 'unregister':
      return jobs.unregister(caller, path, query.url);
    case 'signal':
      return jobs.signal(caller, path, query.signal, query.argument);
    case 'unknown':
      return failed(codes.invalidQuery);
  }
}

function failed(failureCode: number): QueryAnswer {
  return { state: states.failed, failureCode, jobFailureCode: 0 };
}

/** Within the connection's TLS, tokens with a length before each: flag, request, certificates; then the reply of the query (GRAM5.md 4.1). */
async function renew(guest: Guest, room: Room, caller: Caller, path: string): Promise<void> {
  const { reader, send, stream } = guest;
  const now = await room.jobs.status(caller, path);
  if (now.failureCode !== 0) return send(messages.queryReply(now));
  await send(messages.queryReply({ state: 0, failureCode: 0, jobFailureCode: 0 }));
  const flag = await readToken(reader);
  if (flag.toString('latin1') !== 'D') throw new GridError('bad-request', 'a renewal begins with the token D');
  const key = await room.keys.take();
  stream.write(token(key.request));
  const certificates = await readToken(reader);
  const credential = readOr(() => credentialFrom({ caller, key, certificate: firstCertificate(certificates), above: guest.chain }, room.identify));
  if (credential instanceof GridError) {
    room.log.info({ subject: caller.subject, reason: credential.message }, 'GRAM renewal refused');
    return send(messages.queryReply({ ...failed(codes.delegationFailed), text: credential.message }));
  }
  return send(messages.queryReply(await room.jobs.renew(caller, path, credential)));
}

async function readToken(reader: ByteReader): Promise<Buffer> {
  const length = (await reader.take(4)).readUInt32BE(0);
  if (length > largestRenewal) throw new GridError('too-large', `a token of ${length} bytes; at most ${largestRenewal} are taken`);
  return reader.take(length);
}

function token(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

// ---------------------------------------------------------------- both

/** The value, or the GridError that reading it ended with. */
function readOr<T>(work: () => T): T | GridError {
  try {
    return work();
  } catch (error) {
    if (error instanceof GridError) return error;
    throw error;
  }
}

/** Resolves when the text has left, or the connection is gone. */
function sent(stream: TLSSocket, text: string): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) return resolve();
    stream.once('close', resolve);
    stream.write(text, () => {
      stream.off('close', resolve);
      resolve();
    });
  });
}
