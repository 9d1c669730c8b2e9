/** What can be told of a public key from its DER alone, before OpenSSL is asked to open it: kind, size, curve. */
import { DerError, DerReader, readBits, readInteger, readOid, readOne, sameBytes, tags, type Der } from './der.js';

export type KeyShape =
  | { readonly kind: 'rsa'; readonly bits: number; readonly exponent: bigint; readonly pkcs1: Uint8Array }
  | { readonly kind: 'ec'; readonly curve: string | undefined; readonly point: Uint8Array } // undefined: the curve is spelled out instead of named
  | { readonly kind: 'rsa-pss' | 'ed25519' | 'ed448' }
  | { readonly kind: 'unknown'; readonly oid: string };

const rsa = '1.2.840.113549.1.1.1';
const ec = '1.2.840.10045.2.1';
const others: Readonly<Record<string, 'rsa-pss' | 'ed25519' | 'ed448'>> = { '1.2.840.113549.1.1.10': 'rsa-pss', '1.3.101.112': 'ed25519', '1.3.101.113': 'ed448' };
const none = Uint8Array.of(tags.null, 0);

/** @param spki SubjectPublicKeyInfo. DerError if it is malformed */
export function readKeyShape(spki: Der): KeyShape {
  const reader = new DerReader(spki.body);
  const algorithm = new DerReader(reader.next(tags.sequence).body);
  const { bytes, unused } = readBits(reader.next());
  reader.end();
  if (unused !== 0) throw new DerError('a public key that is not whole bytes');
  const type = readOid(algorithm.next());
  const parameters = algorithm.done ? undefined : algorithm.next();
  algorithm.end();
  if (type === ec) return { kind: 'ec', curve: parameters?.tag === tags.oid ? readOid(parameters) : undefined, point: bytes };
  if (type !== rsa) return Object.hasOwn(others, type) ? { kind: others[type] as 'ed25519' } : { kind: 'unknown', oid: type };
  if (parameters && !sameBytes(parameters.raw, none)) throw new DerError('an RSA key with parameters');
  const numbers = new DerReader(readOne(bytes, tags.sequence).body);
  const modulus = positive(numbers.next());
  const exponent = positive(numbers.next());
  numbers.end();
  if (exponent.length > 16) throw new DerError('an RSA key with an absurd exponent');
  return { kind: 'rsa', bits: bitLength(modulus), exponent: BigInt(`0x0${Buffer.from(exponent).toString('hex')}`), pkcs1: bytes };
}

function positive(value: Der): Uint8Array {
  const bytes = readInteger(value);
  if ((bytes[0] ?? 0) >= 0x80) throw new DerError('a negative number in an RSA key');
  return bytes[0] === 0 ? bytes.subarray(1) : bytes;
}

function bitLength(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : bytes.length * 8 - Math.clz32(bytes[0] ?? 0) + 24;
}
