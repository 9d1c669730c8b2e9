/**
 * GRAM's messages: an HTTP head in exactly the form that the clients' sscanf wants (GRAM5.md 6), and a body of
 * `name: value` lines that ends with one NUL. Read strictly, with the limits named; written so that old clients read it. Pure.
 */
import { GridError } from '../../src/domain/error.js';
import { allStates } from './protocol.js';
import type { JobState, QueryAnswer, SubmitAnswer } from './port.js';

export const limits = { headBytes: 8192, bodyBytes: 64_000, lines: 64, url: 2048 } as const;

/** What every reply begins with, so it may leave before the rest is known. */
export const replyStart = 'HTTP/1.1 ';

const software = { version: 'gridvc 0.1.0', toolkit: '6.2' } as const;

export interface RequestHead {
  readonly method: string;
  /** As it stands: "ping/jobmanager", "/jobmanager@account", "/JOB/SECRET/". */
  readonly target: string;
  readonly length: number;
}

/** Reads a request head (up to and without the blank line). bad-request names what is wrong. */
export function readRequestHead(text: string): RequestHead {
  const [first = '', ...lines] = text.split('\r\n');
  const [, method = '', target = ''] = /^([A-Z]{1,16}) ([\x21-\x7e]{1,1024}) HTTP\/1\.[01]$/.exec(first) ?? [];
  if (method !== 'POST') throw bad(`a GRAM request begins with POST TARGET HTTP/1.1, not with ${JSON.stringify(first.slice(0, 80))}`);
  if (lines.length > limits.lines) throw bad(`more than ${limits.lines} header lines`);
  const lengths = lines.map(readHeader).flatMap(({ name, value }) => (name === 'content-length' ? [value] : []));
  const [length] = lengths;
  if (lengths.length > 1) throw bad('Content-Length stands twice');
  if (length !== undefined && !/^\d{1,9}$/.test(length)) throw bad(`Content-Length is ${JSON.stringify(length.slice(0, 20))}, not a number of up to 9 digits`);
  return { method, target, length: Number(length ?? 0) };
}

function readHeader(line: string): { name: string; value: string } {
  const [, name = '', value = ''] = /^([A-Za-z0-9-]{1,64}):[ \t]*([\t\x20-\x7e]*)$/.exec(line) ?? [];
  if (name === '') throw bad(`malformed header line ${JSON.stringify(line.slice(0, 80))}`);
  return { name: name.toLowerCase(), value: value.trim() };
}

export type Target = { readonly ping: boolean; readonly service: string; readonly account?: string };

/** "ping/SERVICE" or "/SERVICE[@ACCOUNT]"; undefined for anything else. */
export function readTarget(target: string): Target | undefined {
  const [, ping, service = '', account] = /^(ping)?\/([A-Za-z0-9._-]{1,64})(?:@([A-Za-z0-9._-]{1,64}))?$/.exec(target) ?? [];
  if (service === '') return undefined;
  return { ping: ping !== undefined, service, ...(account === undefined ? {} : { account }) };
}

// ---------------------------------------------------------------- bodies

export type Command =
  | { readonly kind: 'submit'; readonly rsl: string; readonly callback?: { readonly url: string; readonly mask: number } }
  | { readonly kind: 'version' };

/** Body of a request to the gatekeeper. `version` is another protocol than 2: wrong-state; else bad-request. */
export function readCommand(body: Uint8Array): Command {
  const values = readValues(body);
  if (values.get('command') === 'version') return { kind: 'version' };
  checkVersion(values);
  const rsl = values.get('rsl');
  const mask = values.get('job-state-mask') ?? String(allStates);
  const url = values.get('callback-url') ?? '';
  if (rsl === undefined) throw bad('the line rsl: is missing');
  return { kind: 'submit', rsl, ...(url === '' ? {} : { callback: { url: readUrl(url), mask: readMask(mask) } }) };
}

export type Query =
  | { readonly kind: 'status' }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'renew' }
  | { readonly kind: 'register'; readonly url: string; readonly mask: number }
  | { readonly kind: 'unregister'; readonly url: string }
  | { readonly kind: 'signal'; readonly signal: number; readonly argument: string }
  | { readonly kind: 'unknown'; readonly text: string };

/** Body of a request to a job: `"verb arguments"` alone on its line. Errors as in readCommand. */
export function readQuery(body: Uint8Array): Query {
  const values = readValues(body);
  checkVersion(values);
  const text = values.get('') ?? '';
  const [verb = '', first = '', second = ''] = /^(\S+)(?: +(\S+))?(?: +(.*))?$/s.exec(text)?.slice(1) ?? [];
  switch (verb) {
    case 'status':
    case 'cancel':
    case 'renew':
      return first === '' ? { kind: verb } : { kind: 'unknown', text };
    case 'register':
      return { kind: 'register', mask: readMask(first), url: readUrl(second) };
    case 'unregister':
      return { kind: 'unregister', url: readUrl(first) };
    case 'signal':
      return /^\d{1,4}$/.test(first) ? { kind: 'signal', signal: Number(first), argument: second } : { kind: 'unknown', text };
    default:
      return { kind: 'unknown', text };
  }
}

/** Lines of a body; the value of a line without a name is under "". One NUL at the end, or none. */
export function readValues(body: Uint8Array): ReadonlyMap<string, string> {
  const text = Buffer.from(body).toString('utf8').replace(/\0$/, '');
  if (text.includes('\0')) throw bad('the message has a NUL inside');
  const values = new Map<string, string>();
  for (let at = 0; at < text.length; ) {
    const { name, value, next } = readLine(text, at);
    if (values.has(name)) throw bad(`the line ${name || 'without a name'} stands twice`);
    if (values.size === limits.lines) throw bad(`more than ${limits.lines} lines`);
    values.set(name, value);
    at = next;
  }
  return values;
}

function readLine(text: string, at: number): { name: string; value: string; next: number } {
  const head = /(?:([A-Za-z][A-Za-z0-9-]{0,63}):[ \t]*)?/y;
  head.lastIndex = at;
  const name = head.exec(text)?.[1] ?? '';
  const start = head.lastIndex === 0 ? at : head.lastIndex;
  const quoted = text[start] === '"';
  const body = quoted ? /"((?:[^"\\]|\\.)*)"(?:\r\n|$)/sy : /([^\r\n]*)(?:\r\n|$)/y;
  body.lastIndex = start;
  const found = body.exec(text);
  if (!found || (name === '' && !quoted)) throw bad(`malformed line ${JSON.stringify(text.slice(at, at + 80))}: expected name: value, or a quoted value`);
  const value = found[1] ?? '';
  return { name: name.toLowerCase(), value: quoted ? value.replace(/\\(.)/gs, '$1') : value, next: body.lastIndex };
}

function checkVersion(values: ReadonlyMap<string, string>): void {
  const version = values.get('protocol-version');
  if (version === undefined) throw bad('the line protocol-version: is missing');
  if (version !== '2') throw new GridError('wrong-state', `protocol version ${JSON.stringify(version.slice(0, 20))}; only 2 is spoken here`);
}

function readMask(text: string): number {
  if (!/^-?\d{1,10}$/.test(text)) throw bad(`the mask of states is ${JSON.stringify(text.slice(0, 20))}, not a number`);
  return Number(text) & allStates;
}

function readUrl(text: string): string {
  if (!/^https:\/\/[\x21-\x7e]+$/.test(text) || text.length > limits.url) throw bad(`a callback URL is https:// and at most ${limits.url} characters`);
  return text;
}

function bad(text: string): GridError {
  return new GridError('bad-request', text);
}

// ---------------------------------------------------------------- replies

const reasons = { 200: 'OK', 400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found', 500: 'Internal Server Error' } as const;
export type HttpStatus = keyof typeof reasons;

/** A reply with a body; order and case of its head are the client's. */
export function reply(body: string): string {
  const message = body === '' ? '' : `${body}\0`;
  return `${replyStart}200 OK\r\nContent-Type: application/x-globus-gram\r\nContent-Length: ${Buffer.byteLength(message)}\r\n\r\n${message}`;
}

/** A refusal without a body. */
export function refusal(status: Exclude<HttpStatus, 200>): string {
  return `${replyStart}${status} ${reasons[status]}\r\nConnection: close\r\n\r\n`;
}

export const pingReply = reply('');

export function versionReply(): string {
  return reply(`protocol-version: 2\r\nstatus: 0\r\n${trailer()}`);
}

/** @param contact of `answer.path` */
export function submitReply(answer: SubmitAnswer, contact: string | undefined): string {
  return reply(`protocol-version: 2\r\nstatus: ${answer.status}\r\n${contact === undefined ? '' : `job-manager-url: ${contact}\r\n`}${failureText(answer.text)}${trailer()}`);
}

export function queryReply(answer: QueryAnswer): string {
  return reply(`protocol-version: 2\r\nstatus: ${answer.state}\r\nfailure-code: ${answer.failureCode}\r\njob-failure-code: ${answer.jobFailureCode}\r\n${exitCode(answer)}${failureText(answer.text)}${trailer()}`);
}

/** A POST to the client's callback URL. */
export function callbackRequest(url: URL, contact: string, state: JobState): string {
  const body = `protocol-version: 2\r\njob-manager-url: ${contact}\r\nstatus: ${state.state}\r\nfailure-code: ${state.failureCode}\r\n${exitCode(state)}${failureText(state.text)}${trailer()}\0`;
  return `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.hostname}\r\nContent-Type: application/x-globus-gram\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

function exitCode(of: { readonly exitCode?: number }): string {
  return of.exitCode === undefined ? '' : `exit-code: ${quote(String(of.exitCode))}\r\n`;
}

function failureText(text: string | undefined): string {
  return text === undefined || text === '' ? '' : `gt3-failure-message: ${quote(text.slice(0, 4000))}\r\n`;
}

function trailer(): string {
  return `version: ${quote(software.version)}\r\ntoolkit-version: ${quote(software.toolkit)}\r\n`;
}

/** Quoted as the clients unquote it; control characters would end a line of theirs. */
export function quote(text: string): string {
  return `"${text.replace(/[\x00-\x1f\x7f]+/g, ' ').replace(/["\\]/g, '\\$&')}"`;
}
