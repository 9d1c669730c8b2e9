/**
 * A TLS connection from here to a program of the user (the listener of globusrun), as the user: our certificate is the
 * delegated one, and the other end must be the same user, by a chain that the trust directory believes.
 *
 * The user chooses host and port, so the rules are those against forged requests: https only, the port written out and not a
 * privileged one, never to an address that only this machine has (loopback, link-local, unspecified, multicast: checked
 * after the name is resolved, for each address), nothing is followed, and before the other end has shown that it is the
 * user not one byte is sent. So nothing but "somebody listens there" can be learned, and nothing made to happen.
 */
import { lookup as resolve, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { GridError } from '../../src/domain/error.js';
import { certificatesOf } from '../../src/pki/pem.js';
import { peerChain } from '../../src/pki/tls.js';
import type { Identify } from './delegation.js';
import type { JobCredential } from './port.js';

export interface DialRules {
  readonly identify: Identify;
  /** Loopback addresses are allowed: for a gatekeeper whose users are on its own machine. */
  readonly loopback: boolean;
}

const connectSeconds = 10;
const leastPort = 1024;
const largestUrl = 4096;

const never = new BlockList();
never.addAddress('0.0.0.0');
never.addSubnet('169.254.0.0', 16);
never.addSubnet('224.0.0.0', 3);
never.addAddress('::', 'ipv6');
never.addSubnet('fe80::', 10, 'ipv6');
never.addSubnet('ff00::', 8, 'ipv6');
const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');

/** A user's URL that may be called: https, a port of 1024 or more in it, no user or fragment. bad-request says what is wrong. */
export function readUserUrl(text: string): URL {
  const url = URL.canParse(text) && text.length <= largestUrl ? new URL(text) : undefined;
  const why = !url ? `is no URL of at most ${largestUrl} characters` : url.protocol !== 'https:' ? 'is not https' : url.username !== '' || url.hash !== '' ? 'has a user name or a fragment' : Number(url.port) < leastPort ? `has no port of ${leastPort} or more` : undefined;
  if (!url || why !== undefined) throw new GridError('bad-request', `${JSON.stringify(text.slice(0, 200))} ${why}`, { hint: 'clients name their own listener, https://HOST:PORT/...' });
  return url;
}

export function isLoopback(address: string): boolean {
  return loopback.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** True if we may connect to this address. */
export function mayDial(address: string, rules: Pick<DialRules, 'loopback'>): boolean {
  const plain = address.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/i, '');
  const family = isIP(plain);
  if (family === 0) return false;
  const kind = family === 4 ? 'ipv4' : 'ipv6';
  return !never.check(plain, kind) && (rules.loopback || !loopback.check(plain, kind));
}

interface Opened {
  readonly context: SecureContext;
  readonly subject: string;
}

const opened = new WeakMap<JobCredential, Opened>();

/** Subject and TLS context of a credential; not-authenticated if it has expired or is no longer believed. */
function open(credential: JobCredential, { identify }: DialRules): Opened {
  const known = opened.get(credential);
  if (known && credential.notAfter.getTime() > Date.now()) return known;
  const { subject } = identify(certificatesOf(credential.chain), new Date());
  const context = createSecureContext({ cert: credential.chain, key: credential.key, minVersion: 'TLSv1.2' });
  opened.set(credential, { context, subject });
  return { context, subject };
}

/**
 * Connects, and returns when the other end has shown to be the user. `unavailable`: nobody there, or not in time;
 * `not-authenticated`: somebody else, or the credential has ended; `bad-request`: an address that is not called.
 */
export async function dialUser(url: URL, credential: JobCredential, rules: DialRules): Promise<TLSSocket> {
  const { context, subject } = open(credential, rules);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0 && !mayDial(host, rules)) throw notDialled(url);
  const socket = connect({ host, port: Number(url.port), secureContext: context, rejectUnauthorized: false, servername: '', lookup: guardedLookup(url, rules) });
  socket.setNoDelay(true);
  try {
    await handshaken(socket, url);
    const peer = rules.identify(peerChain(socket), new Date());
    if (peer.subject !== subject) throw new GridError('not-authenticated', `${url.host} is ${peer.subject}, not ${subject}`);
    return socket;
  } catch (error) {
    socket.on('error', () => undefined).destroy();
    throw error;
  }
}

function handshaken(socket: TLSSocket, url: URL): Promise<void> {
  return new Promise((done, fail) => {
    const late = setTimeout(() => fail(new GridError('unavailable', `${url.host} did not answer within ${connectSeconds} s`)), connectSeconds * 1000);
    const end = (error: Error): void => {
      clearTimeout(late);
      fail(error instanceof GridError ? error : new GridError('unavailable', `${url.host} does not answer: ${error.message}`, { cause: error }));
    };
    socket.once('error', end);
    socket.once('close', () => end(new Error('it closed the connection')));
    socket.once('secureConnect', () => {
      clearTimeout(late);
      done();
    });
  });
}

/** Only addresses that may be called; decided on what will be connected to, so that a name cannot change in between. */
function guardedLookup(url: URL, rules: DialRules): LookupFunction {
  return (name, options, callback) => {
    resolve(name, { ...options, all: true }, (error, found: LookupAddress[]) => {
      if (error) return callback(error, '', 0);
      const allowed = found.filter(({ address }) => mayDial(address, rules));
      const [first] = allowed;
      if (!first) return callback(notDialled(url), '', 0);
      if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

function notDialled(url: URL): GridError {
  return new GridError('bad-request', `${url.host} is an address that only this machine has`, { hint: 'set GLOBUS_HOSTNAME on the client to a name that the gatekeeper can reach' });
}
