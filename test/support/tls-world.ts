/** Chains of every sort, a trust directory that judges them, and a gatekeeper's front door (tls-server.ts) in its own process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from 'node:tls';
import { appendCommonNames } from '../../src/pki/dn.js';
import * as oids from '../../src/pki/oids.js';
import * as f from './forge.js';

export interface Case {
  readonly name: string;
  /** Leaf first; empty: the client sends none. */
  readonly chain: readonly f.Forged[];
  /** Status of GET /whoami; 0: TLS itself refuses. */
  readonly status: number;
  /**
   * It may be cut off without an answer: OpenSSL finds a wrong signature within what was sent and leaves that in its queue
   * of errors, where Node takes it for one of the connection unless the request came at the same moment.
   */
  readonly orCut?: boolean;
  /** In the answer. */
  readonly says: RegExp;
}

export interface TlsWorld {
  readonly cases: readonly Case[];
  readonly ca: string;
  readonly port: number;
  /** Memory of the server after a garbage collection, bytes. */
  memory(): Promise<{ rss: number; heap: number }>;
  stop(): Promise<void>;
}

let serial = 5000;

export function proxyOf(issuer: f.Forged, language: string = oids.inheritAll, more: Partial<f.Parts> = {}): f.Forged {
  return f.forge({ issuer, subject: appendCommonNames(issuer.subject, [String(serial++)], 0x13), extensions: [f.proxyInfo(language), f.keyUsage(0)], ...more });
}

/** Makes everything under `home` and starts the server. */
export async function startTlsWorld(home: string): Promise<TlsWorld> {
  const place = (name: string, text: string): string => {
    writeFileSync(join(home, name), text, { mode: 0o600 });
    return join(home, name);
  };
  mkdirSync(home, { recursive: true });
  const ca = f.forge({ subject: '/O=Grid/CN=CA', extensions: f.authorityExtensions, to: 6000 });
  const rsa = f.forge({ subject: '/O=Grid/CN=RSA CA', key: f.rsaKey(), extensions: f.authorityExtensions, to: 6000 });
  const { cases, revoked } = chainsUnder(ca, rsa);
  f.installAuthority(join(home, 'trust'), ca.pem, { crl: f.forgeCrl(ca, [revoked.raw]) });
  f.installAuthority(join(home, 'trust'), rsa.pem);
  const host = f.forge({ issuer: ca, subject: '/O=Grid/CN=localhost', extensions: [f.altName('localhost')] });
  const files = {
    certificate: place('host.pem', host.pem),
    key: place('host.key', host.keyPem),
    gridmap: place('map', '"/O=Grid/CN=Alice" alice\n"/O=Grid/CN=Roy" roy\n"/O=Grid/CN=Mallory" mallory\n'),
    bans: place('bans', '"/O=Grid/CN=Mal*"\n'),
  };
  const server = spawn(process.execPath, ['--expose-gc', join(import.meta.dirname, 'tls-server.js'), JSON.stringify({ ...files, trust: join(home, 'trust'), home })], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => String((await lines.next()).value);
  const port = Number((await line()).replace('port ', ''));
  return {
    cases,
    ca: place('ca.pem', ca.pem),
    port,
    memory: async () => {
      server.stdin.write('\n');
      return JSON.parse(await line()) as { rss: number; heap: number };
    },
    stop: async () => {
      const gone = once(server, 'exit');
      server.stdin.end();
      await gone;
    },
  };
}

function chainsUnder(ca: f.Forged, rsa: f.Forged): { cases: readonly Case[]; revoked: f.Forged } {
  const user = (name: string, more: Partial<f.Parts> = {}): f.Forged => f.forge({ issuer: ca, subject: `/O=Grid/CN=${name}`, extensions: [f.notAuthority, f.keyUsage(0)], ...more });
  const alice = user('Alice');
  const roy = user('Roy', { issuer: rsa, key: f.rsaKey() });
  const [one, thin] = [proxyOf(alice), proxyOf(alice, oids.limitedProxy)];
  const two = proxyOf(one);
  const deep = [alice];
  for (let depth = 0; depth < 21; depth++) deep.unshift(proxyOf(deep[0] as f.Forged));
  const stranger = f.forge({ subject: '/O=Grid/CN=CA', extensions: f.authorityExtensions });
  const forged = f.forge({ issuer: stranger, subject: '/O=Grid/CN=Alice' });
  const foreign = f.forge({ issuer: f.forge({ subject: '/O=Else/CN=CA' }), subject: '/O=Grid/CN=Alice' });
  const revoked = user('Alice');
  const others = Array.from({ length: 50 }, (_, n) => f.forge({ issuer: stranger, subject: `/O=Grid/CN=${'x'.repeat(300)} ${n}` }));
  const fat = user('Alice', { extensions: [f.notAuthority, f.extension('1.2.3.4', false, Buffer.alloc(120_000))] });
  const sha1 = user('Roy', { issuer: rsa, hash: 'sha1' });
  const good = (name: string, chain: readonly f.Forged[], says = /"subject":"\/O=Grid\/CN=Alice","account":"alice"/): Case => ({ name, chain, status: 200, says });
  const bad = (name: string, chain: readonly f.Forged[], says: RegExp, status = 401): Case => ({ name, chain, status, says });
  const cases = [
    good('a user certificate', [alice]),
    good('RSA', [roy], /CN=Roy/),
    good('RSA, an RSA proxy', [proxyOf(roy, oids.inheritAll, { key: f.rsaKey() }), roy], /CN=Roy/),
    good('a proxy', [one, alice]),
    good('two proxies', [two, one, alice]),
    good('a limited proxy', [thin, alice], /"limited":true/),
    good('20 proxies', deep.slice(1)),
    good('the authority is sent, too', [two, one, alice, ca]),
    good('unordered', [two, alice, one]),
    good('unordered, strangers between', [two, ...others.slice(0, 2), alice, others[3] as f.Forged, one]),
    good('doubled', [one, alice, alice, one]),
    good('large: 50 strangers behind', [two, one, alice, ...others]),
    bad('none', [], /no certificate was sent/),
    bad('an expired proxy', [proxyOf(alice, oids.inheritAll, { to: -1 }), alice], /it expired at/),
    bad('not signed by its authority', [forged, stranger], /not signed by the key/),
    bad('an authority that nobody knows', [foreign], /not in the trust directory/),
    bad('revoked', [proxyOf(revoked), revoked], /was revoked/),
    bad('a full proxy under a limited one', [proxyOf(thin), thin, alice], /limited/),
    bad('an incomplete chain', [proxyOf(proxyOf(alice)), alice], /was not sent/),
    bad('21 proxies', deep, /more than 20 proxies/),
    bad('SHA-1', [sha1], /sha1|SHA-1/i),
    { ...bad('a proxy by another key', [proxyOf({ ...alice, key: f.ecKey() }), alice], /not signed by the key/), orCut: true },
    bad('banned', [user('Mallory')], /is banned here/, 403),
    bad('not in the map', [user('Bob')], /not in the grid-mapfile/, 403),
    bad('huge: 120 KB', [fat], /^$/, 0),
    bad('huge: 150 KB of certificates', [two, one, alice, ...others, ...others, ...others, ...others], /^$/, 0),
  ];
  return { cases, revoked };
}

/** One connection of this process: handshake, GET /whoami, close. @returns the status, 0 if TLS refused */
export async function whoami(port: number, { chain }: Pick<Case, 'chain'>): Promise<number> {
  const [leaf] = chain;
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...(leaf ? { cert: chain.map(({ pem }) => pem).join(''), key: leaf.keyPem, ciphers: 'DEFAULT@SECLEVEL=0' } : {}) });
  let answer = '';
  socket.on('error', () => undefined).setEncoding('latin1').on('data', (text: string) => (answer += text));
  socket.write('GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  await once(socket, 'close');
  return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0);
}

/** True if this status is the verdict that the chain should get. */
export function fits({ status, orCut }: Case, found: number): boolean {
  return found === status || (found === 0 && orCut === true);
}

/** So many of them, a few at a time, over the given cases in turn; throws at the first wrong verdict. */
export async function handshakes(port: number, cases: readonly Case[], count: number): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const each = cases[next++ % cases.length] as Case;
      const status = await whoami(port, each);
      if (!fits(each, status)) throw new Error(`${each.name}: ${status}, not ${each.status}`);
    }
  };
  await Promise.all(Array.from({ length: 4 }, lane));
}
