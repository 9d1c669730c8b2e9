/**
 * Signature algorithms, and whether a key made a signature. The algorithm must fit the kind of the key:
 * OpenSSL's plain verify() would check an RSA signature under the name of ECDSA.
 */
import { verify } from 'node:crypto';
import type { Certificate } from './certificate.js';
import { context, readChildren, readOid, readOne, tags, DerError, type Der } from './der.js';
import * as oids from './oids.js';

export interface SignatureAlgorithm {
  readonly oid: string;
  /** OID of the hash, for RSASSA-PSS. */
  readonly pssHash?: string;
}

const rsaPss = '1.2.840.113549.1.1.10';
const sha1 = '1.3.14.3.2.26';

/** Reads an AlgorithmIdentifier. */
export function readAlgorithm(algorithm: Der): SignatureAlgorithm {
  const [type, parameters] = readChildren(algorithm, 2);
  if (!type) throw new DerError('malformed signature algorithm');
  const oid = readOid(type);
  if (oid !== rsaPss) return { oid };
  const hash = parameters && readChildren(parameters, 4).find(({ tag }) => tag === context(0));
  const inner = hash && readChildren(readOne(hash.body, tags.sequence), 2)[0];
  return { oid, pssHash: inner ? readOid(inner) : sha1 };
}

/** Whether the key of `signer` signed `content`. PSS is false here: its parameters are not read (see isSignedBy). Never throws. */
export function isSignature(content: Uint8Array, algorithm: SignatureAlgorithm, signature: Uint8Array, signer: Certificate): boolean {
  const known = oids.signatureAlgorithms[algorithm.oid];
  if (!known || known.key !== signer.keyShape.kind) return false;
  try {
    return verify(known.hash, content, signer.publicKey, signature);
  } catch {
    return false;
  }
}

/** Whether the key of `issuer` signed the certificate. Never throws. */
export function isSignedBy(certificate: Certificate, issuer: Certificate): boolean {
  if (certificate.signature.oid !== rsaPss) return isSignature(certificate.tbs, certificate.signature, certificate.signatureValue, issuer);
  try {
    return certificate.x509.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

const remembered = new Set<string>();
const most = 4096;

/**
 * As isSignedBy; a good signature is remembered by both fingerprints. Authorities cost nothing then, and a proxy
 * that comes again on its next connection only the reading.
 */
export function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  const edge = certificate.fingerprint + issuer.fingerprint;
  if (remembered.has(edge)) return true;
  if (!isSignedBy(certificate, issuer)) return false;
  if (remembered.size >= most) remembered.clear();
  remembered.add(edge);
  return true;
}
