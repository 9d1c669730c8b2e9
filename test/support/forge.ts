/** Makes certificates and CRLs with any fault in them, and trust directories: what src/pki/issue.ts never would. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCertificate } from '../../src/pki/certificate.js';
import { encodeDn } from '../../src/pki/dn.js';

import { context } from '../../src/pki/der.js';
import { bits, boolean, der, explicit, namedBits, octets, oid, positive, sequence, small, time } from '../../src/pki/der-write.js';
import * as oids from '../../src/pki/oids.js';
import { certificatesOf, writePem } from '../../src/pki/pem.js';
import { nameHashes } from '../../src/pki/trust-directory.js';

export interface Forged {
  readonly raw: Uint8Array;
  readonly subject: Uint8Array;
  readonly key: KeyObject;
  readonly pem: string;
  readonly keyPem: string;
}

export interface Parts {
  readonly issuer?: { readonly subject: Uint8Array; readonly key: KeyObject };
  readonly subject: string | Uint8Array;
  readonly key?: KeyObject;
  readonly serial?: number;
  readonly serialBytes?: Uint8Array;
  readonly from?: number;
  readonly to?: number;
  readonly extensions?: readonly Uint8Array[];
  /** sha256 unless a weak one is wanted; RSA issuers only. */
  readonly hash?: 'sha256' | 'sha1' | 'md5';
}

const minute = 60_000;
export const ecKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
export const rsaKey = (bits = 2048): KeyObject => generateKeyPairSync('rsa', { modulusLength: bits }).privateKey;
let serials = 1000;

/** A certificate made of exactly these parts; dates are minutes from now. Without an issuer it signs itself. */
export function forge(parts: Parts): Forged {
  const key = parts.key ?? ecKey();
  const subject = typeof parts.subject === 'string' ? encodeDn(parts.subject) : parts.subject;
  const issuer = parts.issuer ?? { subject, key };
  const algorithm = algorithmOf(issuer.key, parts.hash ?? 'sha256');
  const tbs = sequence(
    explicit(0, small(2)),
    parts.serialBytes ? positive(parts.serialBytes) : small(parts.serial ?? serials++),
    algorithm,
    issuer.subject,
    sequence(time(new Date(Date.now() + (parts.from ?? -60) * minute)), time(new Date(Date.now() + (parts.to ?? 600) * minute))),
    subject,
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    ...(parts.extensions?.length === 0 ? [] : [explicit(3, sequence(...(parts.extensions ?? plain)))]),
  );
  const raw = sequence(tbs, algorithm, bits(sign(parts.hash ?? 'sha256', tbs, issuer.key)));
  return { raw, subject, key, pem: writePem('CERTIFICATE', raw), keyPem: key.export({ type: 'pkcs8', format: 'pem' }) as string };
}

function algorithmOf(key: KeyObject, hash: 'sha256' | 'sha1' | 'md5'): Uint8Array {
  if (key.asymmetricKeyType === 'ec') return sequence(oid(hash === 'sha256' ? '1.2.840.10045.4.3.2' : '1.2.840.10045.4.1'));
  const last = { md5: 4, sha1: 5, sha256: 11 }[hash];
  return sequence(oid(`1.2.840.113549.1.1.${last}`), der(5));
}

export function extension(type: string, critical: boolean, ...value: readonly Uint8Array[]): Uint8Array {
  return sequence(oid(type), ...(critical ? [boolean(true)] : []), octets(...value));
}

export const keyUsage = (...numbers: readonly number[]): Uint8Array => extension(oids.keyUsage, true, namedBits(numbers));
export const authority = (pathLength?: number): Uint8Array => extension(oids.basicConstraints, true, sequence(boolean(true), ...(pathLength === undefined ? [] : [small(pathLength)])));
export const notAuthority = extension(oids.basicConstraints, true, sequence());
export const usages = (...types: readonly string[]): Uint8Array => extension(oids.extendedKeyUsage, false, sequence(...types.map(oid)));
export const altName = (name: string): Uint8Array => extension(oids.subjectAltName, false, sequence(der(context(2, false), Buffer.from(name))));
export const proxyInfo = (language: string, options: { critical?: boolean; pathLength?: number; policy?: string } = {}): Uint8Array =>
  extension(
    oids.proxyCertInfo,
    options.critical ?? true,
    sequence(...(options.pathLength === undefined ? [] : [small(options.pathLength)]), sequence(oid(language), ...(options.policy === undefined ? [] : [octets(Buffer.from(options.policy))]))),
  );
const plain = [keyUsage(0)];
export const authorityExtensions = [authority(), keyUsage(5, 6)];

/** A CRL of `issuer`; dates are minutes from now. @param revoked certificates, or serials in hex */
export function forgeCrl(issuer: { readonly subject: Uint8Array; readonly key: KeyObject }, revoked: readonly (Uint8Array | string)[], dates: { from?: number; to?: number } = {}): string {
  const algorithm = algorithmOf(issuer.key, 'sha256');
  const at = (minutes: number): Uint8Array => time(new Date(Date.now() + minutes * minute));
  const list = revoked.map((each) => sequence(positive(Buffer.from(typeof each === 'string' ? each : readCertificate(each).serial, 'hex')), at(-30)));
  const tbs = sequence(small(1), algorithm, issuer.subject, at(dates.from ?? -60), at(dates.to ?? 600), ...(list.length > 0 ? [sequence(...list)] : []));
  return writePem('X509 CRL', sequence(tbs, algorithm, bits(sign('sha256', tbs, issuer.key))));
}

/** Puts an authority into a trust directory. @returns its hash, the stem of the file names */
export function installAuthority(directory: string, certificate: string, options: { policy?: string | null; crl?: string; oldHash?: boolean } = {}): string {
  mkdirSync(directory, { recursive: true });
  const read = readCertificate(certificatesOf(certificate)[0] as Uint8Array);
  const hash = nameHashes(read.subjectDer)[options.oldHash ? 1 : 0];
  writeFileSync(join(directory, `${hash}.0`), certificate);
  const patterns = options.policy ?? '/O=Grid/*';
  if (options.policy !== null) writeFileSync(join(directory, `${hash}.signing_policy`), `# for tests\naccess_id_CA X509 '${read.subject}'\npos_rights globus CA:sign\ncond_subjects globus '"${patterns}"'\n`);
  if (options.crl !== undefined) writeFileSync(join(directory, `${hash}.r0`), options.crl);
  return hash;
}

/** A CRL of so many serials, next to the authority's certificate. */
export function installLongCrl(directory: string, hash: string, issuer: { certificate: string; key: string }, count: number): void {
  const key = createPrivateKey(issuer.key);
  const { subjectDer } = readCertificate(certificatesOf(issuer.certificate)[0] as Uint8Array);
  writeFileSync(join(directory, `${hash}.r0`), forgeCrl({ subject: subjectDer, key }, Array.from({ length: count }, (_, index) => (0x10000000 + index).toString(16))));
}

export const openKey = (pem: string): KeyObject => createPrivateKey(pem);
