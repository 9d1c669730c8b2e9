/**
 * Makes keys, authorities, certificates, proxies (RFC 3820) and PKCS#10 requests. Names are copied from
 * the issuer's DER byte for byte; nothing outlives its issuer. An EC certificate takes about 0.5 ms.
 */
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, randomBytes, sign, verify, type KeyObject } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { promisify } from 'node:util';
import { readCertificate } from './certificate.js';
import { appendCommonNames, encodeDn } from './dn.js';
import { context, DerError, readBits, readChildren, readOid, readOne, tags } from './der.js';
import { bits, boolean, der, explicit, namedBits, octets, oid, positive, sequence, small, time } from './der-write.js';
import { certificatesOf, readPem, writePem } from './pem.js';
import * as oids from './oids.js';

export interface Issuer {
  /** PEM; may be a chain, its first certificate is the issuer. */
  readonly certificate: string;
  /** PEM: PKCS#8, SEC1 or PKCS#1. */
  readonly key: string;
}

export type KeyKind = 'ec' | 'rsa';
export type CertificateUsage = 'host' | 'user' | 'overlay-hub' | 'overlay-node';

export interface CertificateOptions {
  readonly issuer: Issuer;
  /** Globus DN text, or DER of a Name. */
  readonly subject: string | Uint8Array;
  /** CN RDNs to add to the subject, in order. */
  readonly append?: readonly string[];
  /** PEM SPKI. */
  readonly publicKey: string;
  /** Default five minutes ago. */
  readonly notBefore?: Date;
  /** Cut to the issuer's. */
  readonly notAfter: Date;
  readonly usage: CertificateUsage;
  readonly dnsNames?: readonly string[];
  readonly addresses?: readonly string[];
}

export interface ProxyOptions {
  /** An end entity or a proxy: its certificate, chain and key. */
  readonly issuer: Issuer;
  /** PEM SPKI; without it a fresh key is made and returned. */
  readonly publicKey?: string;
  /** Cut to the issuer's. */
  readonly notAfter: Date;
  readonly limited?: boolean;
  /** How many proxies may follow; default no limit. */
  readonly pathLength?: number;
  /** Kind of the fresh key, default ec (P-256). */
  readonly kind?: KeyKind;
}

const generate = promisify(generateKeyPair);
const skew = 5 * 60_000;

/** A fresh key pair, PEM PKCS#8 and SPKI: EC P-256 (under 1 ms) or RSA-2048 (100 ms and more). */
export async function makeKey(kind: KeyKind): Promise<{ key: string; publicKey: string }> {
  const pair = kind === 'ec' ? await generate('ec', { namedCurve: 'P-256' }) : await generate('rsa', { modulusLength: 2048 });
  return {
    key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }) as string,
  };
}

/** A self-signed authority. @param days its life, from five minutes ago */
export async function makeAuthority(options: { subject: string; days: number; kind?: KeyKind }): Promise<Issuer> {
  const { key, publicKey } = await makeKey(options.kind ?? 'ec');
  const name = encodeDn(options.subject);
  const spki = spkiOf(publicKey);
  const identifier = keyIdentifier(spki);
  const { certificate } = signCertificate({
    issuer: { subject: name, key: createPrivateKey(key) },
    subject: name,
    serial: freshSerial(16),
    notBefore: Date.now() - skew,
    notAfter: Date.now() + options.days * 86_400_000,
    spki,
    extensions: [
      extension(oids.basicConstraints, true, sequence(boolean(true))),
      extension(oids.keyUsage, true, namedBits([keyUsageBit.keyCertSign, keyUsageBit.crlSign])),
      extension(oids.subjectKeyIdentifier, false, octets(identifier)),
      extension(oids.authorityKeyIdentifier, false, sequence(der(context(0, false), identifier))),
    ],
  });
  return { certificate, key };
}

/** A certificate for a host, a user or an overlay end. @returns PEM and its serial number in hex */
export async function issueCertificate(options: CertificateOptions): Promise<{ certificate: string; serial: string }> {
  const issuer = openIssuer(options.issuer);
  const name = typeof options.subject === 'string' ? encodeDn(options.subject) : options.subject;
  const spki = spkiOf(options.publicKey);
  return signCertificate({
    issuer,
    subject: options.append?.length ? appendCommonNames(name, options.append) : name,
    serial: freshSerial(16),
    notBefore: Math.max(options.notBefore?.getTime() ?? Date.now() - skew, issuer.notBefore),
    notAfter: Math.min(options.notAfter.getTime(), issuer.notAfter),
    spki,
    extensions: endEntityExtensions(options, issuer, spki),
  });
}

/** An RFC 3820 proxy under `issuer`: limited if asked for, or if the issuer is. @returns PEM: the proxy, then the issuer's own chain */
export async function issueProxy(options: ProxyOptions): Promise<{ chain: string; key?: string }> {
  const fresh = options.publicKey === undefined ? await makeKey(options.kind ?? 'ec') : undefined;
  const publicKey = fresh?.publicKey ?? (options.publicKey as string);
  const issuer = openIssuer(options.issuer);
  if (issuer.authority) throw new DerError('a certificate authority cannot issue a proxy');
  if (issuer.proxyPathLength === 0) throw new DerError('the path length of this proxy allows no further proxy');
  const serial = freshSerial(10);
  const limited = options.limited === true || issuer.limited;
  const inherited = issuer.proxyPathLength === undefined ? undefined : issuer.proxyPathLength - 1;
  const pathLength = options.pathLength === undefined ? inherited : Math.min(options.pathLength, inherited ?? Infinity);
  const { certificate } = signCertificate({
    issuer,
    subject: appendCommonNames(issuer.subject, [BigInt(`0x${serial.toString('hex')}`).toString()], tags.printable),
    serial,
    notBefore: Math.max(Date.now() - skew, issuer.notBefore),
    notAfter: Math.min(options.notAfter.getTime(), issuer.notAfter),
    spki: spkiOf(publicKey),
    extensions: [
      extension(oids.proxyCertInfo, true, proxyCertInfo(limited ? oids.limitedProxy : oids.inheritAll, pathLength)),
      extension(oids.keyUsage, true, namedBits(signingUsage(publicKey))),
    ],
  });
  const chain = certificate + certificatesOf(options.issuer.certificate).map((each) => writePem('CERTIFICATE', each)).join('');
  return fresh ? { chain, key: fresh.key } : { chain };
}

/** DER of ProxyCertInfo (RFC 3820, 3.8) without a policy text. */
export function proxyCertInfo(language: string, pathLength?: number): Uint8Array {
  return sequence(...(pathLength === undefined ? [] : [small(pathLength)]), sequence(oid(language)));
}

/** A PKCS#10 request (PEM) with an empty subject: who it is for is the issuer's business. */
export async function makeRequest(key: string): Promise<string> {
  const privateKey = createPrivateKey(key);
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return writePem('CERTIFICATE REQUEST', requestFor(spki, privateKey));
}

/** DER of such a request, with a fresh EC P-256 key (PEM PKCS#8) and its SubjectPublicKeyInfo. OpenSSL opens a key slowly: here it never has to. */
export async function makeKeyAndRequest(): Promise<{ key: string; spki: Uint8Array; request: Uint8Array }> {
  const { privateKey, publicKey } = await generate('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, spki, request: requestFor(spki, privateKey) };
}

function requestFor(spki: Uint8Array, key: KeyObject): Uint8Array {
  return signed(sequence(small(0), sequence(), spki, der(context(0))), key);
}

/** Public key of a PKCS#10 request. A request that its own key did not sign is a DerError. */
export async function readRequest(pem: string): Promise<{ publicKey: string }> {
  const block = readPem(pem).find(({ label }) => label === 'CERTIFICATE REQUEST' || label === 'NEW CERTIFICATE REQUEST');
  if (!block) throw new DerError('there is no CERTIFICATE REQUEST in the text');
  const [info, algorithm, signature, ...rest] = readChildren(readOne(block.der, tags.sequence), 4);
  if (!info || !algorithm || !signature || rest.length > 0) throw new DerError('malformed certificate request');
  const spki = readChildren(info, 4)[2];
  const hash = oids.signatureAlgorithms[readOid(readChildren(algorithm, 2)[0] ?? algorithm)];
  if (!spki || !hash || hash.weak) throw new DerError('the certificate request is signed by an algorithm that is not accepted');
  const publicKey = openPublicKey(spki.raw);
  if (!verify(hash.hash, info.raw, publicKey, readBits(signature).bytes)) throw new DerError('the certificate request is not signed by its own key');
  return { publicKey: publicKey.export({ type: 'spki', format: 'pem' }) as string };
}

function openPublicKey(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch {
    throw new DerError('the public key is malformed or of an unknown kind');
  }
}

// ---------------------------------------------------------------- the issuer

interface OpenIssuer {
  readonly subject: Uint8Array;
  readonly key: KeyObject;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly keyIdentifier: Uint8Array | undefined;
  readonly authority: boolean;
  readonly limited: boolean;
  readonly proxyPathLength: number | undefined;
}

/** Opening a key costs more than a signature, and one authority signs hundreds of nodes. */
const opened = new WeakMap<Issuer, OpenIssuer>();

function openIssuer(issuer: Issuer): OpenIssuer {
  const known = opened.get(issuer);
  if (known) return known;
  const [first] = certificatesOf(issuer.certificate);
  if (!first) throw new DerError('there is no certificate in the issuer file');
  const certificate = readCertificate(first);
  const identifier = certificate.extensions.get(oids.subjectKeyIdentifier);
  const open = {
    key: createPrivateKey(issuer.key),
    subject: certificate.subjectDer,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    keyIdentifier: identifier && readOne(identifier.value, tags.octetString).body,
    authority: certificate.authority,
    limited: certificate.proxy?.language === oids.limitedProxy,
    proxyPathLength: certificate.proxy?.pathLength,
  };
  opened.set(issuer, open);
  return open;
}

// ---------------------------------------------------------------- the certificate

interface ToSign {
  readonly issuer: { readonly subject: Uint8Array; readonly key: KeyObject };
  readonly subject: Uint8Array;
  readonly serial: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spki: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

function signCertificate(parts: ToSign): { certificate: string; serial: string } {
  if (!(parts.notAfter > parts.notBefore)) throw new DerError('the certificate would end before it begins: has the issuer expired?');
  const tbs = sequence(
    explicit(0, small(2)),
    positive(parts.serial),
    signatureAlgorithm(parts.issuer.key).identifier,
    parts.issuer.subject,
    sequence(time(new Date(parts.notBefore)), time(new Date(parts.notAfter))),
    parts.subject,
    parts.spki,
    explicit(3, sequence(...parts.extensions)),
  );
  return { certificate: writePem('CERTIFICATE', signed(tbs, parts.issuer.key)), serial: parts.serial.toString('hex') };
}

function signed(content: Uint8Array, key: KeyObject): Uint8Array {
  const { identifier, hash } = signatureAlgorithm(key);
  return sequence(content, identifier, bits(sign(hash, content, key)));
}

function signatureAlgorithm(key: KeyObject): { identifier: Uint8Array; hash: string | null } {
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return { identifier: sequence(oid('1.2.840.113549.1.1.11'), der(tags.null)), hash: 'sha256' };
    case 'ec': {
      const large = key.asymmetricKeyDetails?.namedCurve === 'secp521r1' ? 4 : key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 3 : 2;
      return { identifier: sequence(oid(`1.2.840.10045.4.3.${large}`)), hash: ['sha256', 'sha384', 'sha512'][large - 2] as string };
    }
    case 'ed25519':
      return { identifier: sequence(oid('1.3.101.112')), hash: null };
    default:
      throw new DerError(`cannot sign with a key of kind ${key.asymmetricKeyType}: use RSA, EC or Ed25519`);
  }
}

/** Positive, exactly this many bytes, the first one not zero. */
function freshSerial(bytes: number): Buffer {
  const serial = randomBytes(bytes);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}

const keyUsageBit = { digitalSignature: 0, keyEncipherment: 2, keyCertSign: 5, crlSign: 6 } as const;

function signingUsage(publicKey: string): number[] {
  const rsa = createPublicKey(publicKey).asymmetricKeyType === 'rsa';
  return rsa ? [keyUsageBit.digitalSignature, keyUsageBit.keyEncipherment] : [keyUsageBit.digitalSignature];
}

const extendedUsages: Readonly<Record<CertificateUsage, readonly string[]>> = {
  host: [oids.serverAuth, oids.clientAuth],
  user: [oids.clientAuth],
  'overlay-hub': [oids.serverAuth],
  'overlay-node': [oids.clientAuth],
};

function endEntityExtensions(options: CertificateOptions, issuer: OpenIssuer, spki: Uint8Array): Uint8Array[] {
  const names = [
    ...(options.dnsNames ?? []).map((name) => der(context(2, false), Buffer.from(name))),
    ...(options.addresses ?? []).map((address) => der(context(7, false), addressBytes(address))),
  ];
  return [
    extension(oids.basicConstraints, true, sequence()),
    extension(oids.keyUsage, true, namedBits(signingUsage(options.publicKey))),
    extension(oids.extendedKeyUsage, false, sequence(...extendedUsages[options.usage].map(oid))),
    extension(oids.subjectKeyIdentifier, false, octets(keyIdentifier(spki))),
    ...(issuer.keyIdentifier ? [extension(oids.authorityKeyIdentifier, false, sequence(der(context(0, false), issuer.keyIdentifier)))] : []),
    ...(names.length > 0 ? [extension(oids.subjectAltName, false, sequence(...names))] : []),
  ];
}

function extension(type: string, critical: boolean, value: Uint8Array): Uint8Array {
  return critical ? sequence(oid(type), boolean(true), octets(value)) : sequence(oid(type), octets(value));
}

function addressBytes(address: string): Uint8Array {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  if (!isIPv6(address)) throw new DerError(`${JSON.stringify(address)} is not an IP address`);
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const middle = address.includes('::') ? Array<string>(8 - groups(head).length - groups(tail).length).fill('0') : [];
  return Buffer.from([...groups(head), ...middle, ...groups(tail)].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function spkiOf(publicKey: string): Uint8Array {
  const block = readPem(publicKey).find(({ label }) => label === 'PUBLIC KEY');
  if (!block) throw new DerError('there is no PUBLIC KEY in the text');
  readOne(block.der, tags.sequence);
  return block.der;
}

/** SHA-1 of the key's bits (RFC 5280, 4.2.1.2): a name for the key, not a protection. */
function keyIdentifier(spki: Uint8Array): Uint8Array {
  const key = readChildren(readOne(spki, tags.sequence), 2)[1];
  if (!key) throw new DerError('malformed public key');
  return createHash('sha1').update(readBits(key).bytes).digest();
}
