/**
 * Chains of clients that came lately, by their leaf. Every globusrun is a new connection with the same proxy, and reading a
 * chain out of Node costs more than the handshake's own cryptography. The leaf is read each time: its key the other side
 * has just shown to hold. What stands above it is only claimed, and is validated whoever claimed it; so it may come from the
 * last time. The same array also lets the Authenticator find its verdict of the last seconds.
 */
import { createHash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { peerChain } from '../../src/pki/tls.js';

const keepMilliseconds = 60_000;
const most = 512;
const recent = new Map<string, { readonly chain: readonly Uint8Array[]; readonly at: number }>();

/** DER of what the other side showed, leaf first; empty if nothing. */
export function recentPeerChain(socket: TLSSocket): readonly Uint8Array[] {
  const leaf = socket.getPeerCertificate(false).raw as Buffer | undefined;
  if (leaf === undefined) return [];
  const name = createHash('sha256').update(leaf).digest('base64');
  const known = recent.get(name);
  if (known && Date.now() - known.at < keepMilliseconds) return known.chain;
  const chain = peerChain(socket);
  recent.delete(name);
  if (recent.size >= most) recent.delete(recent.keys().next().value ?? '');
  if (chain.length > 1) recent.set(name, { chain, at: Date.now() });
  return chain;
}
