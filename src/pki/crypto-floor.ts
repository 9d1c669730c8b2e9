/** Which keys and signatures are strong enough. Node's verify() would accept MD5 and RSA-512. */
import { ECDH } from 'node:crypto';
import type { Certificate } from './certificate.js';
import { DerError } from './der.js';
import * as oids from './oids.js';
import { Refused } from './refusal.js';

/** Named curves of 224 bits and more, by OID. */
const curves: Readonly<Record<string, string>> = {
  '1.3.132.0.33': 'secp224r1',
  '1.2.840.10045.3.1.7': 'prime256v1',
  '1.3.132.0.10': 'secp256k1',
  '1.3.132.0.34': 'secp384r1',
  '1.3.132.0.35': 'secp521r1',
  '1.3.36.3.3.2.8.1.1.7': 'brainpoolP256r1',
  '1.3.36.3.3.2.8.1.1.9': 'brainpoolP320r1',
  '1.3.36.3.3.2.8.1.1.11': 'brainpoolP384r1',
  '1.3.36.3.3.2.8.1.1.13': 'brainpoolP512r1',
};
const pssHashes: readonly string[] = ['2.16.840.1.101.3.4.2.1', '2.16.840.1.101.3.4.2.2', '2.16.840.1.101.3.4.2.3'];
const smallestRsa = 2048;
const largestRsa = 16384;
const largestExponent = 2n ** 32n;

/** RSA of 2048 to 16384 bits, named curves of 224 bits and more, Ed25519, Ed448. Looks at the DER alone, so it costs nothing. */
export function checkKey(certificate: Certificate): void {
  const { keyShape: key } = certificate;
  const refuse = (check: string): never => {
    throw new Refused('weak-crypto', certificate.subject, check, { hint: `make a new key: RSA of ${smallestRsa} bits or more, or EC P-256` });
  };
  if (key.kind === 'rsa') {
    if (key.bits < smallestRsa || key.bits > largestRsa) refuse(`RSA key of ${key.bits} bits; allowed: ${smallestRsa} to ${largestRsa}`);
    if (key.exponent < 3n || key.exponent > largestExponent || key.exponent % 2n === 0n) refuse('RSA key with an unusual public exponent; allowed: odd, 3 to 2^32');
  } else if (key.kind === 'rsa-pss') {
    const bits = certificate.publicKey.asymmetricKeyDetails?.modulusLength ?? 0;
    if (bits < smallestRsa || bits > largestRsa) refuse(`RSA-PSS key of ${bits} bits; allowed: ${smallestRsa} to ${largestRsa}`);
  } else if (key.kind === 'ec') {
    if (key.curve === undefined) refuse('EC key with explicit curve parameters instead of a named curve');
    else if (!Object.hasOwn(curves, key.curve)) refuse(`EC key on the curve ${key.curve}; allowed: ${Object.values(curves).join(', ')}`);
  } else if (key.kind === 'unknown') refuse(`key of a kind that is not accepted (${key.oid}); allowed: RSA, EC, Ed25519, Ed448`);
}

/** Whether the bytes are a key: a point on its curve (P-256 2 us, others 20 us), or what OpenSSL can open (100 us). DerError if not. */
export function checkKeyIsOne(certificate: Certificate): void {
  const { keyShape: key } = certificate;
  const curve = key.kind === 'ec' ? curves[key.curve ?? ''] : undefined;
  if (key.kind !== 'ec' || curve === undefined) return void certificate.publicKey;
  if (curve === 'prime256v1' && isOnP256(key.point)) return;
  try {
    ECDH.convertKey(key.point, curve);
  } catch {
    throw new DerError('a public key that is no point on its curve');
  }
}

const p256 = { p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n, b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn };

/** y^2 = x^3 - 3x + b modulo p (FIPS 186-4, D.1.2.3), for a point that is written uncompressed; the cofactor is 1, so that is all. */
function isOnP256(point: Uint8Array): boolean {
  if (point.length !== 65 || point[0] !== 4) return false;
  const text = Buffer.from(point.buffer, point.byteOffset, point.length).toString('hex');
  const [x, y] = [BigInt(`0x${text.slice(2, 66)}`), BigInt(`0x${text.slice(66)}`)];
  return x < p256.p && y < p256.p && (y * y - (x * x - 3n) * x - p256.b) % p256.p === 0n;
}

/** SHA-2 signatures; SHA-1 by a setting; MD5 never. */
export function checkSignatureAlgorithm(certificate: Certificate, allowSha1: boolean): void {
  const { oid, pssHash } = certificate.signature;
  const known = oids.signatureAlgorithms[oid];
  if (pssHash !== undefined ? pssHashes.includes(pssHash) : known && (!known.weak || (known.weak === 'sha1' && allowSha1))) return;
  throw new Refused('weak-crypto', certificate.subject, `signed with ${known?.name ?? `algorithm ${oid}${pssHash ? ` and hash ${pssHash}` : ''}`}, which is not accepted`, {
    hint: 'ask the issuer for a certificate signed with SHA-256',
  });
}
