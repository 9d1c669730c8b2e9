/** Users with proxies, a trust directory and GRAM's real door in this process; the real Debian clients are run against it. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { makeContacts, type Contacts } from '../../gatekeeper/gram/contact.js';
import { GsiCouriers } from '../../gatekeeper/gram/couriers.js';
import type { GramLimits } from '../../gatekeeper/gram/server.js';
import { serveGram, type GramServer } from '../../gatekeeper/gram/server.js';
import { Authenticator } from '../../gatekeeper/identity/authenticator.js';
import { makeLog } from '../../src/log.js';
import { issueCertificate, issueProxy, makeAuthority, makeKey, type Issuer, type KeyKind } from '../../src/pki/issue.js';
import { TrustDirectory } from '../../src/pki/trust-directory.js';
import * as f from './forge.js';
import { TestJobs } from './gram-jobs.js';

export interface Person {
  readonly subject: string;
  readonly issuer: Issuer;
  /** File with proxy, key and chain. */
  readonly proxy: string;
  readonly credential: { readonly chain: string; readonly key: string };
}

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly ms: number;
}

export interface GramWorld {
  readonly home: string;
  readonly port: number;
  readonly contacts: Contacts;
  readonly jobs: TestJobs;
  readonly couriers: GsiCouriers;
  readonly server: GramServer;
  readonly authenticator: Authenticator;
  readonly certificate: string;
  readonly alice: Person;
  readonly bob: Person;
  readonly mallory: Person;
  /** Another proxy of a person. */
  proxy(of: Person, options?: { minutes?: number; limited?: boolean; kind?: KeyKind; from?: Issuer }): Promise<Person>;
  person(subject: string, ca?: Issuer): Promise<Person>;
  /** Runs a client as a person, with this world's trust directory. */
  run(words: readonly string[], as: Person, options?: { seconds?: number; killAfter?: number; env?: NodeJS.ProcessEnv }): Promise<Ran>;
  close(): Promise<void>;
}

const hours = (count: number): Date => new Date(Date.now() + count * 3_600_000);

export const hasClients = spawnSync('globusrun', ['-help']).error === undefined;

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

export async function startGramWorld(home: string, limits: Partial<GramLimits> = {}): Promise<GramWorld> {
  mkdirSync(home, { recursive: true });
  const log = makeLog('gram-test', (process.env['GRAM_LOG'] as 'debug' | undefined) ?? 'silent');
  const place = (name: string, text: string): string => {
    writeFileSync(join(home, name), text, { mode: 0o600 });
    return join(home, name);
  };
  const ca = await makeAuthority({ subject: '/O=Grid/CN=Test CA', days: 10, kind: 'rsa' });
  f.installAuthority(join(home, 'trust'), ca.certificate);
  const port = await freePort();
  const contacts = makeContacts({ host: 'localhost', port, subject: '/O=Grid/CN=host of GRAM' });
  const { key, publicKey } = await makeKey('ec');
  const { certificate } = await issueCertificate({ issuer: ca, subject: '/O=Grid/CN=host of GRAM', publicKey, notAfter: hours(24), usage: 'host', dnsNames: ['localhost'] });
  let count = 0;
  const proxy: GramWorld['proxy'] = async (of, { minutes = 600, limited = false, kind = 'rsa', from } = {}) => {
    const made = await issueProxy({ issuer: from ?? of.issuer, notAfter: hours(minutes / 60), limited, kind });
    const credential = { chain: made.chain, key: made.key ?? '' };
    const [leaf = '', ...above] = made.chain.split(/(?=-----BEGIN)/);
    return { ...of, credential, proxy: place(`proxy-${++count}.pem`, leaf + credential.key + above.join('')) };
  };
  const person: GramWorld['person'] = async (subject, by = ca) => {
    const made = await makeKey('rsa');
    const user = await issueCertificate({ issuer: by, subject, publicKey: made.publicKey, notAfter: hours(24), usage: 'user' });
    return proxy({ subject, issuer: { certificate: user.certificate, key: made.key }, proxy: '', credential: { chain: '', key: '' } });
  };
  const [alice, bob, mallory] = [await person('/O=Grid/CN=Alice Example'), await person('/O=Grid/CN=Bob'), await person('/O=Grid/CN=Mallory')];
  const gridmap = place('map', '"/O=Grid/CN=Alice Example" alice\n"/O=Grid/CN=Bob" bob\n"/O=Grid/CN=Mallory" mallory\n');
  const authenticator = new Authenticator(TrustDirectory.open(join(home, 'trust'), log), { gridmap, bans: place('bans', '"/O=Grid/CN=Mallory"\n') }, log);
  const identify = authenticator.identify.bind(authenticator);
  const couriers = new GsiCouriers({ identify, loopback: true, contacts, log });
  const jobs = new TestJobs(() => couriers);
  const server = await serveGram({ host: '127.0.0.1', port, certificate, key, contacts, jobs, identify, authenticate: authenticator.authenticate.bind(authenticator), limits, log });
  const run: GramWorld['run'] = (words, as, options = {}) => runClient(words, { X509_CERT_DIR: join(home, 'trust'), X509_USER_PROXY: as.proxy, HOME: home, ...options.env }, options);
  return { home, port, contacts, jobs, couriers, server, authenticator, certificate, alice, bob, mallory, proxy, person, run, close: () => server.close(1) };
}

/** Never throws: code null if it was killed (after `seconds`, default 20, or `killAfter` ms). */
export function runClient([command = '', ...words]: readonly string[], env: NodeJS.ProcessEnv, { seconds = 20, killAfter }: { seconds?: number; killAfter?: number } = {}): Promise<Ran> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const child = spawn(command, words, { env: { PATH: process.env['PATH'], GLOBUS_HOSTNAME: 'localhost', ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), killAfter ?? seconds * 1000);
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.on('error', (error) => (err += error.message)).on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, out, err, ms: performance.now() - begun });
    });
  });
}
