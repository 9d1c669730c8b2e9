/** Which keys and signatures are strong enough. Node's verify() would accept MD5 and RSA-512. */
import type { Certificate } from './certificate.js';
import * as oids from './oids.js';
import { Refused } from './refusal.js';

const curves: readonly string[] = ['secp224r1', 'prime256v1', 'secp256k1', 'secp384r1', 'secp521r1', 'brainpoolP256r1', 'brainpoolP320r1', 'brainpoolP384r1', 'brainpoolP512r1'];
const pssHashes: readonly string[] = ['2.16.840.1.101.3.4.2.1', '2.16.840.1.101.3.4.2.2', '2.16.840.1.101.3.4.2.3'];
const smallestRsa = 2048;
const largestRsa = 16384;
const largestExponent = 2n ** 32n;

/** RSA of 2048 to 16384 bits, named curves of 224 bits and more, Ed25519, Ed448. */
export function checkKey(certificate: Certificate): void {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = certificate.publicKey;
  const refuse = (check: string): never => {
    throw new Refused('weak-crypto', certificate.subject, check, { hint: `make a new key: RSA of ${smallestRsa} bits or more, or EC P-256` });
  };
  if (kind === 'rsa' || kind === 'rsa-pss') {
    const bits = details?.modulusLength ?? 0;
    if (bits < smallestRsa || bits > largestRsa) refuse(`RSA key of ${bits} bits; allowed: ${smallestRsa} to ${largestRsa}`);
    const exponent = details?.publicExponent ?? 0n;
    if (exponent < 3n || exponent > largestExponent || exponent % 2n === 0n) refuse('RSA key with an unusual public exponent; allowed: odd, 3 to 2^32');
  } else if (kind === 'ec') {
    if (!certificate.namedCurve) refuse('EC key with explicit curve parameters instead of a named curve');
    if (!curves.includes(details?.namedCurve ?? '')) refuse(`EC key on curve ${details?.namedCurve ?? 'unknown'}; allowed: ${curves.join(', ')}`);
  } else if (kind !== 'ed25519' && kind !== 'ed448') refuse(`key of kind ${kind}; allowed: RSA, EC, Ed25519, Ed448`);
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
