/** Certificate revocation lists (RFC 5280, section 5): full, direct ones. Others are refused, not guessed at. */
import { keyUsageBits, readExtensions, type Certificate } from './certificate.js';
import { canonicalName } from './dn.js';
import { context, DerError, DerReader, readBits, readChildren, readInteger, readOne, readSmall, readTime, sameBytes, tags, type Der } from './der.js';
import { isSignature, readAlgorithm } from './signature.js';
import * as oids from './oids.js';

export interface Crl {
  readonly issuerKey: string;
  /** Unix ms. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Serial numbers, hex as in Certificate.serial. */
  readonly revoked: ReadonlySet<string>;
  /** Whether this authority's key signed it (and may). Checked once for each key. @param sha1 whether SHA-1 is accepted */
  signedBy(authority: Certificate, sha1: boolean): boolean;
}

const mostRevoked = 2_000_000;

/**
 * Reads a CRL. DerError if it is malformed, without a nextUpdate, or holds any critical extension: those
 * mark indirect, partial and delta lists.
 */
export function readCrl(raw: Uint8Array): Crl {
  const outer = new DerReader(readOne(raw, tags.sequence).body);
  const tbs = outer.next(tags.sequence);
  const algorithm = outer.next(tags.sequence);
  const { bytes: signature, unused } = readBits(outer.next());
  if (unused !== 0) throw new DerError('the signature is not whole bytes');
  outer.end();
  const signed = readAlgorithm(algorithm);
  const checked = new Map<string, boolean>();

  const reader = new DerReader(tbs.body);
  const version = reader.optional(tags.integer);
  if (version && readSmall(version) !== 1) throw new DerError('CRL of an unknown version');
  if (!sameBytes(reader.next(tags.sequence).raw, algorithm.raw)) throw new DerError('the signature algorithm inside differs from the one outside');
  const issuer = reader.next(tags.sequence).raw;
  const thisUpdate = readTime(reader.next());
  const nextUpdate = readNextUpdate(reader);
  const list = reader.optional(tags.sequence);
  const wrapped = reader.optional(context(0));
  reader.end();
  if (wrapped) refuseUnknown(readOne(wrapped.body, tags.sequence));
  return {
    issuerKey: Buffer.from(canonicalName(issuer)).toString('hex'),
    thisUpdate,
    nextUpdate,
    revoked: new Set(list ? readChildren(list, mostRevoked).map(revokedSerial) : []),
    signedBy: (authority, sha1) => {
      const weak = oids.signatureAlgorithms[signed.oid]?.weak;
      if ((weak && !(weak === 'sha1' && sha1)) || (authority.keyUsage && !authority.keyUsage.includes(keyUsageBits.crlSign))) return false;
      const known = checked.get(authority.fingerprint) ?? isSignature(tbs.raw, signed, signature, authority);
      checked.set(authority.fingerprint, known);
      return known;
    },
  };
}

/** RFC 5280, 5.1.2.5: it must be there. Without it nobody could tell when a list is too old. */
function readNextUpdate(reader: DerReader): number {
  if (reader.peek() !== tags.utcTime && reader.peek() !== tags.generalizedTime) throw new DerError('the CRL does not say when the next one comes (nextUpdate)');
  return readTime(reader.next());
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
    if (critical) throw new DerError(`the CRL has a critical extension that is not supported: ${type}`);
  }
}
