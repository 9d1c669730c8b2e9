/**
 * One X.509 certificate, read from its DER by us: node:crypto's own text forms lose the order and the
 * escaping of names and show no extensions. Everything is checked when it is read; what costs more than
 * microseconds (texts of names, the key as OpenSSL has it) is made when it is first asked for, so that a
 * chain that is refused early costs little.
 */
import { createHash, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import { canonicalRdns, globusText, readName, type Attribute } from './dn.js';
import { context, DerError, DerReader, readBits, readBoolean, readChildren, readInteger, readOid, readOne, readSmall, readTime, sameBytes, tags, type Der } from './der.js';
import { readKeyShape, type KeyShape } from './key-shape.js';
import { readAlgorithm, type SignatureAlgorithm } from './signature.js';
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

/** The fields that are read at once. */
interface Contents {
  readonly raw: Uint8Array;
  /** The signed part, the signature's bytes and algorithm. */
  readonly tbs: Uint8Array;
  readonly signatureValue: Uint8Array;
  readonly signature: SignatureAlgorithm;
  /** Hex of the INTEGER's bytes. */
  readonly serial: string;
  readonly version: number;
  readonly subjectDer: Uint8Array;
  readonly issuerDer: Uint8Array;
  readonly subjectRdns: readonly (readonly Attribute[])[];
  readonly issuerRdns: readonly (readonly Attribute[])[];
  /** Unix ms. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly keyShape: KeyShape;
  /** DER of the SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly extensions: ReadonlyMap<string, Extension>;
  readonly authority: boolean;
  readonly pathLength: number | undefined;
  /** Bits by number (digitalSignature 0 ... decipherOnly 8); undefined without the extension. */
  readonly keyUsage: readonly number[] | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly proxy: ProxyInfo | undefined;
  /** Hex; the identifiers choose among issuers, they prove nothing. */
  readonly keyIdentifier: string | undefined;
  readonly issuerKeyIdentifier: string | undefined;
}

export interface Certificate extends Contents {
  /** SHA-256 of `raw`, hex. */
  readonly fingerprint: string;
  /** Globus DNs. */
  readonly subject: string;
  readonly issuer: string;
  /** Names as OpenSSL compares them, hex. */
  readonly subjectKey: string;
  readonly issuerKey: string;
  /** Issuer and subject are one name. */
  readonly selfIssued: boolean;
  readonly x509: X509Certificate;
  /** A DerError if OpenSSL cannot read the key (a point that is not on its curve). */
  readonly publicKey: KeyObject;
}

export const keyUsageBits = { digitalSignature: 0, keyAgreement: 4, keyCertSign: 5, crlSign: 6 } as const;

const largest = 64 * 1024;

/** Reads one certificate of at most 64 KiB. Anything that is not strict DER, or repeats an extension, is a DerError. */
export function readCertificate(raw: Uint8Array): Certificate {
  if (raw.length > largest) throw new DerError(`certificate of more than ${largest} bytes`);
  const outer = new DerReader(readOne(raw, tags.sequence).body);
  const tbs = outer.next(tags.sequence);
  const algorithm = outer.next(tags.sequence);
  const { bytes, unused } = readBits(outer.next());
  outer.end();
  if (unused !== 0) throw new DerError('the signature is not whole bytes');
  const fields = readFields(tbs);
  if (!sameBytes(fields.algorithm, algorithm.raw)) throw new DerError('the signature algorithm inside differs from the one outside');
  const { extensions } = fields;
  return new LazyCertificate({
    raw,
    tbs: tbs.raw,
    signatureValue: bytes,
    signature: readAlgorithm(algorithm),
    serial: fields.serial,
    version: fields.version,
    subjectDer: fields.subject.raw,
    issuerDer: fields.issuer.raw,
    subjectRdns: readName(fields.subject),
    issuerRdns: readName(fields.issuer),
    notBefore: fields.notBefore,
    notAfter: fields.notAfter,
    keyShape: readKeyShape(fields.spki),
    spki: fields.spki.raw,
    extensions,
    ...readConstraints(extensions.get(oids.basicConstraints)),
    keyUsage: readKeyUsage(extensions.get(oids.keyUsage)),
    extendedKeyUsage: readUsages(extensions.get(oids.extendedKeyUsage)),
    proxy: readProxyInfo(extensions.get(oids.proxyCertInfo)),
    keyIdentifier: readKeyIdentifier(extensions.get(oids.subjectKeyIdentifier)),
    issuerKeyIdentifier: readIssuerKeyIdentifier(extensions.get(oids.authorityKeyIdentifier)),
  });
}

interface LazyCertificate extends Contents {} // the fields that the constructor copies
class LazyCertificate implements Certificate {
  #fingerprint: string | undefined;
  #subject: string | undefined;
  #issuer: string | undefined;
  #subjectKey: string | undefined;
  #issuerKey: string | undefined;
  #x509: X509Certificate | undefined;
  #publicKey: KeyObject | undefined;

  constructor(contents: Contents) {
    Object.assign(this, contents);
  }

  get fingerprint(): string {
    return (this.#fingerprint ??= createHash('sha256').update(this.raw).digest('hex'));
  }

  get subject(): string {
    return (this.#subject ??= globusText(this.subjectRdns));
  }

  get issuer(): string {
    return (this.#issuer ??= globusText(this.issuerRdns));
  }

  get subjectKey(): string {
    return (this.#subjectKey ??= Buffer.from(canonicalRdns(this.subjectRdns)).toString('hex'));
  }

  get issuerKey(): string {
    return (this.#issuerKey ??= issuerKeyOf(this));
  }

  get selfIssued(): boolean {
    return this.subjectKey === this.issuerKey;
  }

  get x509(): X509Certificate {
    return (this.#x509 ??= opened(() => new X509Certificate(this.raw)));
  }

  get publicKey(): KeyObject {
    return (this.#publicKey ??= opened(() => openKey(this.keyShape, this.spki)));
  }
}

const issuerKeys = new Map<string, string>();
const mostIssuerKeys = 512;

/** Authorities are few: the comparable forms of some hundred issuers are remembered by their bytes. */
function issuerKeyOf({ issuerDer, issuerRdns }: Contents): string {
  const bytes = Buffer.from(issuerDer).toString('latin1');
  const known = issuerKeys.get(bytes);
  if (known !== undefined) return known;
  const key = Buffer.from(canonicalRdns(issuerRdns)).toString('hex');
  if (issuerKeys.size >= mostIssuerKeys) issuerKeys.clear();
  issuerKeys.set(bytes, key);
  return key;
}

const jwkCurves: Readonly<Record<string, string>> = { '1.2.840.10045.3.1.7': 'P-256', '1.3.132.0.34': 'P-384', '1.3.132.0.35': 'P-521' };

/** As SPKI any key takes 110 us, since OpenSSL 3 looks for a decoder; RSA as PKCS#1 takes 2 us, EC as a JWK 90 us and verifies faster. */
function openKey(shape: KeyShape, spki: Uint8Array): KeyObject {
  if (shape.kind === 'rsa') return createPublicKey({ key: Buffer.from(shape.pkcs1), format: 'der', type: 'pkcs1' });
  const crv = shape.kind === 'ec' ? jwkCurves[shape.curve ?? ''] : undefined;
  if (shape.kind !== 'ec' || crv === undefined || shape.point[0] !== 4) return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  const half = (shape.point.length + 1) / 2;
  const part = (from: number, to?: number): string => Buffer.from(shape.point.subarray(from, to)).toString('base64url');
  return createPublicKey({ key: { kty: 'EC', crv, x: part(1, half), y: part(half) }, format: 'jwk' });
}

function opened<T>(open: () => T): T {
  try {
    return open();
  } catch {
    throw new DerError('malformed certificate, or a public key that is no key of its kind');
  }
}

interface Fields {
  readonly version: number;
  readonly serial: string;
  readonly algorithm: Uint8Array;
  readonly issuer: Der;
  readonly subject: Der;
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
  const issuer = reader.next(tags.sequence);
  const [notBefore, notAfter, ...more] = readChildren(reader.next(tags.sequence), 2).map(readTime);
  if (notBefore === undefined || notAfter === undefined || more.length > 0) throw new DerError('malformed validity');
  const subject = reader.next(tags.sequence);
  const spki = reader.next(tags.sequence);
  for (const number of [1, 2]) {
    const unique = reader.optional(context(number, false));
    if (unique && version < 2) throw new DerError('unique identifier in a certificate of version 1');
    if (unique) readBits(unique, unique.tag);
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

/** `cA FALSE` spelled out is no DER, yet common in certificates of old authorities: read as absent. */
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

function readKeyIdentifier(extension: Extension | undefined): string | undefined {
  return extension && Buffer.from(readOne(extension.value, tags.octetString).body).toString('hex');
}

function readIssuerKeyIdentifier(extension: Extension | undefined): string | undefined {
  if (!extension) return undefined;
  const reader = new DerReader(readOne(extension.value, tags.sequence).body);
  const identifier = reader.optional(context(0, false));
  reader.optional(context(1));
  reader.optional(context(2, false));
  reader.end();
  return identifier && Buffer.from(identifier.body).toString('hex');
}
