/**
 * How a TLS server of ours asks for and reads client certificates. Node's own verdict on a chain is
 * worthless for proxies (always UNSPECIFIED), so every chain is let in and validated by chain.ts.
 */
import { constants, createHash, type X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, PeerCertificate, SecureVersion, TLSSocket } from 'node:tls';
import { readCertificate } from './certificate.js';
import { DerError } from './der.js';

/** Options for every server. No tickets: a resumed session would show only the leaf. Add no session handlers. */
export const tlsServerOptions: { minVersion: SecureVersion; requestCert: true; rejectUnauthorized: false; secureOptions: number } = {
  minVersion: 'TLSv1.2',
  requestCert: true,
  rejectUnauthorized: false,
  secureOptions: constants.SSL_OP_NO_TICKET,
};

const most = 100;
const mostUnfreed = 8192;
const mostReordered = 512;
/** Lists as sent by the hash of their leaf, whose key the other side has shown to hold. */
const reordered = new Map<string, Uint8Array[]>();
let unfreed = 0;
const read = new WeakMap<TLSSocket, Uint8Array[]>();

/** DER of what the peer sent, leaf first; empty if it sent nothing. Read once for each connection. */
export function peerChain(socket: TLSSocket): Uint8Array[] {
  const known = read.get(socket);
  if (known) return known;
  const linked = linkedChain(socket);
  const chain = endsInProxy(linked) ? sentChain(socket, linked) : linked;
  read.set(socket, chain);
  return chain;
}

/** What OpenSSL could link up: complete for every well-formed chain in order. */
function linkedChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  const seen = new Set<string>();
  let current: Partial<DetailedPeerCertificate | PeerCertificate> | undefined = socket.getPeerCertificate(true);
  while (current?.raw && chain.length < most && !seen.has(current.fingerprint512 ?? '')) {
    seen.add(current.fingerprint512 ?? '');
    chain.push(current.raw);
    current = 'issuerCertificate' in current ? current.issuerCertificate : undefined;
  }
  return chain;
}

/**
 * Unordered certificates cut the linked chain short: then the list as sent. Node can give it only once a connection, and
 * then never frees these certificates (measured: 4 to 12 KB each). Since a stranger can make it do so without being known
 * here, there is an end to it: each credential costs once, and after `mostUnfreed` certificates, some 50 MB, only chains in
 * order are read until the process starts anew; then others are refused as incomplete.
 */
function sentChain(socket: TLSSocket, linked: Uint8Array[]): Uint8Array[] {
  const leaf = createHash('sha256').update(linked[0] ?? '').digest('base64');
  const before = reordered.get(leaf);
  if (before) return before;
  if (unfreed >= mostUnfreed) return linked;
  const chain: Uint8Array[] = [];
  let current: X509Certificate | undefined = socket.getPeerX509Certificate();
  while (current && chain.length < most) {
    chain.push(current.raw);
    current = current.issuerCertificate;
  }
  unfreed += chain.length;
  if (chain.length <= linked.length) return linked;
  if (reordered.size >= mostReordered) reordered.delete(reordered.keys().next().value ?? '');
  if (chain.some((each) => !endsInProxy([each]))) reordered.set(leaf, chain);
  return chain;
}

function endsInProxy(chain: readonly Uint8Array[]): boolean {
  const last = chain.at(-1);
  try {
    return last !== undefined && readCertificate(last).proxy !== undefined;
  } catch (error) {
    if (error instanceof DerError) return false; // the validator will say so
    throw error;
  }
}
