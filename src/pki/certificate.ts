/**
 * One X.509 certificate, read from its DER by us: node:crypto's own text forms lose the order and the
 * escaping of names and show no extensions. node:crypto is used for the key and the signature only.
 */
import { createHash, X509Certificate, type KeyObject } from 'node:crypto';
import { canonicalName, globusDn } from './dn.js';
import { context, DerError, DerReader, readBits, readBoolean, readChildren, readInteger, readOid, readOne, readSmall, readTime, sameBytes, tags, type Der } from './der.js';
import * as oids from './oids.js';

export interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

export interface ProxyInfo {
  /** How many proxies may follow; undefined: no limit. */
  readonly pathLength: number | undefined;
  readonly language: string;
  readonly hasPolicy: boolean;
  readonly critical: boolean;
}

export interface Certificate {
  readonly raw: Uint8Array;
  /** SHA-256 of `raw`, hex. */
  readonly fingerprint: string;
  /** Hex of the INTEGER's bytes. */
  readonly serial: string;
  readonly version: number;
  readonly subjectDer: Uint8Array;
  readonly issuerDer: Uint8Array;
  /** Globus DNs. */
  readonly subject: string;
  readonly issuer: string;
  /** Names as OpenSSL compares them, hex. */
  readonly subjectKey: string;
  readonly issuerKey: string;
  /** Unix ms. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** The signature's algorithm: OID, and for PSS the hash inside. */
  readonly signature: SignatureAlgorithm;
  /** False if an EC key spells its curve out instead of naming it. */
  readonly namedCurve: boolean;
  readonly extensions: ReadonlyMap<string, Extension>;
  readonly authority: boolean;
  readonly pathLength: number | undefined;
  /** Bits by number (digitalSignature 0 ... decipherOnly 8); undefined without the extension. */
  readonly keyUsage: readonly number[] | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly proxy: ProxyInfo | undefined;
  readonly x509: X509Certificate;
  readonly publicKey: KeyObject;
}

export interface SignatureAlgorithm {
  readonly oid: string;
  /** OID of the hash, for RSASSA-PSS. */
  readonly pssHash?: string;
}

export const keyUsageBits = { digitalSignature: 0, keyAgreement: 4, keyCertSign: 5, crlSign: 6 } as const;

const largest = 64 * 1024;

/** Reads one certificate of at most 64 KiB. Anything that is not strict DER, or repeats an extension, is a DerError. */
export function readCertificate(raw: Uint8Array): Certificate {
  if (raw.length > largest) throw new DerError(`certificate of more than ${largest} bytes`);
  const outer = new DerReader(readOne(raw, tags.sequence).body);
  const tbs = outer.next(tags.sequence);
  const algorithm = outer.next(tags.sequence);
  readBits(outer.next());
  outer.end();
  const fields = readFields(tbs);
  if (!sameBytes(fields.algorithm, algorithm.raw)) throw new DerError('the signature algorithm inside differs from the one outside');
  const x509 = openX509(raw);
  return {
    raw,
    fingerprint: createHash('sha256').update(raw).digest('hex'),
    serial: fields.serial,
    version: fields.version,
    subjectDer: fields.subject,
    issuerDer: fields.issuer,
    subject: globusDn(fields.subject),
    issuer: globusDn(fields.issuer),
    subjectKey: Buffer.from(canonicalName(fields.subject)).toString('hex'),
    issuerKey: Buffer.from(canonicalName(fields.issuer)).toString('hex'),
    notBefore: fields.notBefore,
    notAfter: fields.notAfter,
    signature: readAlgorithm(algorithm),
    namedCurve: namesItsCurve(fields.spki),
    extensions: fields.extensions,
    ...readConstraints(fields.extensions.get(oids.basicConstraints)),
    keyUsage: readKeyUsage(fields.extensions.get(oids.keyUsage)),
    extendedKeyUsage: readUsages(fields.extensions.get(oids.extendedKeyUsage)),
    proxy: readProxyInfo(fields.extensions.get(oids.proxyCertInfo)),
    ...x509,
  };
}

function openX509(raw: Uint8Array): { x509: X509Certificate; publicKey: KeyObject } {
  try {
    const x509 = new X509Certificate(Buffer.from(raw));
    return { x509, publicKey: x509.publicKey };
  } catch {
    throw new DerError('malformed certificate, or a public key of an unknown kind');
  }
}

interface Fields {
  readonly version: number;
  readonly serial: string;
  readonly algorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spki: Der;
  readonly extensions: ReadonlyMap<string, Extension>;
}

function readFields(tbs: Der): Fields {
  const reader = new DerReader(tbs.body);
  const versioned = reader.optional(context(0));
  const version = versioned ? readSmall(readOne(versioned.body)) + 1 : 1;
  if (version > 3 || (versioned && version === 1)) throw new DerError(`certificate of version ${version}`);
  const serial = Buffer.from(readInteger(reader.next())).toString('hex');
  const algorithm = reader.next(tags.sequence).raw;
  const issuer = reader.next(tags.sequence).raw;
  const [notBefore, notAfter, ...more] = readChildren(reader.next(tags.sequence), 2).map(readTime);
  if (notBefore === undefined || notAfter === undefined || more.length > 0) throw new DerError('malformed validity');
  const subject = reader.next(tags.sequence).raw;
  const spki = reader.next(tags.sequence);
  for (const number of [1, 2]) {
    if (reader.optional(context(number, false)) && version < 2) throw new DerError('unique identifier in a certificate of version 1');
  }
  const wrapped = reader.optional(context(3));
  if (wrapped && version !== 3) throw new DerError(`extensions in a certificate of version ${version}`);
  reader.end();
  return { version, serial, algorithm, issuer, subject, notBefore, notAfter, spki, extensions: wrapped ? readExtensions(readOne(wrapped.body, tags.sequence)) : new Map() };
}

/** Extensions of a certificate or a CRL, by OID; none twice. */
export function readExtensions(list: Der): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const each of readChildren(list, 128)) {
    if (each.tag !== tags.sequence) throw new DerError('malformed extension');
    const reader = new DerReader(each.body);
    const type = readOid(reader.next());
    const flag = reader.optional(tags.boolean);
    const value = reader.next(tags.octetString).body;
    reader.end();
    const critical = flag !== undefined && readBoolean(flag);
    if (flag && !critical) throw new DerError(`extension ${type} spells a default out`);
    if (extensions.has(type)) throw new DerError(`extension ${type} occurs twice`);
    extensions.set(type, { critical, value });
  }
  if (extensions.size === 0) throw new DerError('an empty list of extensions');
  return extensions;
}

function readConstraints(extension: Extension | undefined): { authority: boolean; pathLength: number | undefined } {
  if (!extension) return { authority: false, pathLength: undefined };
  const reader = new DerReader(readOne(extension.value, tags.sequence).body);
  const flag = reader.optional(tags.boolean);
  const authority = flag !== undefined && readBoolean(flag);
  const length = reader.optional(tags.integer);
  reader.end();
  const pathLength = length && readSmall(length);
  if (!authority && pathLength !== undefined) throw new DerError('a path length without cA');
  return { authority, pathLength };
}

function readKeyUsage(extension: Extension | undefined): readonly number[] | undefined {
  if (!extension) return undefined;
  const { bytes, unused } = readBits(readOne(extension.value));
  const count = bytes.length * 8 - unused;
  if (count > 16) throw new DerError('malformed key usage');
  return Array.from({ length: count }, (_, bit) => bit).filter((bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0);
}

function readUsages(extension: Extension | undefined): readonly string[] | undefined {
  if (!extension) return undefined;
  const usages = readChildren(readOne(extension.value, tags.sequence), 64).map(readOid);
  if (usages.length === 0) throw new DerError('an empty extended key usage');
  return usages;
}

function readProxyInfo(extension: Extension | undefined): ProxyInfo | undefined {
  if (!extension) return undefined;
  const reader = new DerReader(readOne(extension.value, tags.sequence).body);
  const length = reader.optional(tags.integer);
  const policy = new DerReader(reader.next(tags.sequence).body);
  reader.end();
  const language = readOid(policy.next());
  const hasPolicy = policy.optional(tags.octetString) !== undefined;
  policy.end();
  return { pathLength: length && readSmall(length), language, hasPolicy, critical: extension.critical };
}

const rsaPss = '1.2.840.113549.1.1.10';
const sha1 = '1.3.14.3.2.26';

function readAlgorithm(algorithm: Der): SignatureAlgorithm {
  const [type, parameters] = readChildren(algorithm, 2);
  if (!type) throw new DerError('malformed signature algorithm');
  const oid = readOid(type);
  if (oid !== rsaPss) return { oid };
  const hash = parameters && readChildren(parameters, 4).find(({ tag }) => tag === context(0));
  const inner = hash && readChildren(readOne(hash.body, tags.sequence), 2)[0];
  return { oid, pssHash: inner ? readOid(inner) : sha1 };
}

function namesItsCurve(spki: Der): boolean {
  const algorithm = readChildren(spki, 2)[0];
  const [type, parameters] = algorithm ? readChildren(algorithm, 2) : [];
  if (!type) throw new DerError('malformed public key');
  return readOid(type) !== '1.2.840.10045.2.1' || parameters?.tag === tags.oid;
}
