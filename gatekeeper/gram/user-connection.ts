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
import { BlockList, connect as connectPlain, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { GridError } from '../../src/domain/error.js';
import { subjectOf, type Identify } from './delegation.js';
import type { JobCredential } from './port.js';
import { recentPeerChain } from './recent-chains.js';

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

/**
 * TLS 1.2 only: with 1.3 the other end sends session tickets after the handshake. Should this process be killed then, they
 * meet a closed connection while output is still unread there. A precaution: no loss was traced to it.
 */
const version = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
const contexts = new WeakMap<JobCredential, SecureContext>();

function contextOf(credential: JobCredential): SecureContext {
  const known = contexts.get(credential) ?? createSecureContext({ cert: credential.chain, key: credential.key, ...version });
  contexts.set(credential, known);
  return known;
}

/**
 * Connects, and returns when the other end has shown to be the user. `unavailable`: nobody there, or not in time;
 * `not-authenticated`: somebody else, or the credential has ended; `bad-request`: an address that is not called.
 * TLS begins when somebody is there: the listener of a client that has left is the usual case.
 */
export async function dialUser(url: URL, credential: JobCredential, rules: DialRules): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0 && !mayDial(host, rules)) throw notDialled(url);
  const plain = connectPlain({ host, port: Number(url.port), noDelay: true, lookup: guardedLookup(url, rules) });
  const late = setTimeout(() => plain.destroy(new Error(`not within ${connectSeconds} s`)), connectSeconds * 1000);
  let socket: Socket = plain;
  try {
    await happened(plain, 'connect', url);
    const subject = subjectOf(credential, rules.identify);
    const tls = connect({ socket: plain, secureContext: contextOf(credential), rejectUnauthorized: false, servername: '' });
    socket = tls;
    await happened(tls, 'secureConnect', url);
    const peer = rules.identify(recentPeerChain(tls), new Date());
    if (peer.subject !== subject) throw new GridError('not-authenticated', `${url.host} is ${peer.subject}, not ${subject}`);
    return tls;
  } catch (error) {
    for (const each of [socket, plain]) each.on('error', () => undefined).destroy();
    throw error;
  } finally {
    clearTimeout(late);
  }
}

function happened(socket: Socket, event: 'connect' | 'secureConnect', url: URL): Promise<void> {
  return new Promise((done, fail) => {
    const end = (error?: Error): void => fail(error instanceof GridError ? error : new GridError('unavailable', `${url.host} does not answer: ${error?.message ?? 'it closed the connection'}`, { cause: error }));
    const closed = (): void => end();
    socket.once('error', end).once('close', closed).once(event, () => {
      socket.off('error', end).off('close', closed);
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
