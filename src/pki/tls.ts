/**
 * How a TLS server of ours asks for and reads client certificates. Node's own verdict on a chain is
 * worthless for proxies (always UNSPECIFIED), so every chain is let in and validated by chain.ts.
 */
import { constants, type X509Certificate } from 'node:crypto';
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

/** Unordered or extra certificates cut the linked chain short: then the list as sent. It works only once a connection, and leaks 12 KB. */
function sentChain(socket: TLSSocket, otherwise: Uint8Array[]): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let current: X509Certificate | undefined = socket.getPeerX509Certificate();
  while (current && chain.length < most) {
    chain.push(current.raw);
    current = current.issuerCertificate;
  }
  return chain.length > otherwise.length ? chain : otherwise;
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
