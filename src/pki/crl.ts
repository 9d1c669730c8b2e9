/** Certificate revocation lists (RFC 5280, section 5): full, direct ones. Others are refused, not guessed at. */
import { verify } from 'node:crypto';
import { keyUsageBits, readExtensions, type Certificate } from './certificate.js';
import { canonicalName } from './dn.js';
import { context, DerError, DerReader, readBits, readChildren, readInteger, readOid, readOne, readSmall, readTime, sameBytes, tags, type Der } from './der.js';
import * as oids from './oids.js';

export interface Crl {
  readonly issuerKey: string;
  /** Unix ms. */
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
  /** Serial numbers, hex as in Certificate.serial. */
  readonly revoked: ReadonlySet<string>;
  /** Whether this authority's key signed it (and may). */
  signedBy(authority: Certificate): boolean;
}

const mostRevoked = 2_000_000;
const knownCritical: readonly string[] = [oids.authorityKeyIdentifier, oids.crlNumber];

/** Reads a CRL. DerError if it is malformed, indirect, partial, a delta, or holds an unknown critical extension. */
export function readCrl(raw: Uint8Array): Crl {
  const outer = new DerReader(readOne(raw, tags.sequence).body);
  const tbs = outer.next(tags.sequence);
  const algorithm = outer.next(tags.sequence);
  const signature = readBits(outer.next()).bytes;
  outer.end();
  const hash = oids.signatureAlgorithms[readOid(readChildren(algorithm, 2)[0] ?? algorithm)];

  const reader = new DerReader(tbs.body);
  const version = reader.optional(tags.integer);
  if (version && readSmall(version) !== 1) throw new DerError('CRL of an unknown version');
  if (!sameBytes(reader.next(tags.sequence).raw, algorithm.raw)) throw new DerError('the signature algorithm inside differs from the one outside');
  const issuer = reader.next(tags.sequence).raw;
  const thisUpdate = readTime(reader.next());
  const nextUpdate = reader.peek() === tags.utcTime || reader.peek() === tags.generalizedTime ? readTime(reader.next()) : undefined;
  const list = reader.optional(tags.sequence);
  const wrapped = reader.optional(context(0));
  reader.end();
  if (wrapped) refuseUnknown(readOne(wrapped.body, tags.sequence));
  return {
    issuerKey: Buffer.from(canonicalName(issuer)).toString('hex'),
    thisUpdate,
    nextUpdate,
    revoked: new Set(list ? readChildren(list, mostRevoked).map(revokedSerial) : []),
    signedBy: (authority) => {
      if (!hash || hash.weak || (authority.keyUsage && !authority.keyUsage.includes(keyUsageBits.crlSign))) return false;
      return verifySafely(hash.hash, tbs.raw, authority, signature);
    },
  };
}

function verifySafely(hash: string | null, content: Uint8Array, authority: Certificate, signature: Uint8Array): boolean {
  try {
    return verify(hash, content, authority.publicKey, signature);
  } catch {
    return false; // a key that does not fit the algorithm
  }
}

function revokedSerial(entry: Der): string {
  const reader = new DerReader(entry.body);
  const serial = Buffer.from(readInteger(reader.next())).toString('hex');
  readTime(reader.next());
  const extensions = reader.optional(tags.sequence);
  reader.end();
  if (extensions) refuseUnknown(extensions);
  return serial;
}

function refuseUnknown(list: Der): void {
  for (const [type, { critical }] of readExtensions(list)) {
    if (critical && !knownCritical.includes(type)) throw new DerError(`the CRL has a critical extension that is not supported: ${type}`);
  }
}
