/**
 * Proxy files as Globus tools keep them: the proxy, its key, then the certificates under it; owner only.
 * Also what grid-proxy-info tells of one.
 */
import { createPrivateKey, randomBytes, type KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import { GridError } from '../domain/error.js';
import { readCertificate, type Certificate } from './certificate.js';
import { DerError } from './der.js';
import * as oids from './oids.js';
import { readPem, writePem, type PemBlock } from './pem.js';

/** A certificate, its chain and its key. */
export interface Credential {
  /** PEM, leaf first. */
  readonly chain: string;
  /** PEM, not encrypted. */
  readonly key: string;
}

export type ProxyKind = 'end-entity' | 'proxy' | 'limited' | 'independent' | 'unknown-policy' | 'legacy';

export interface ProxyDescription {
  /** Globus DNs: of the leaf, of its issuer, and of the end entity that speaks through it. */
  readonly subject: string;
  readonly issuer: string;
  readonly identity: string;
  readonly kind: ProxyKind;
  /** Bits of the key, and its sort: "RSA", "EC". */
  readonly strength: number;
  readonly algorithm: string;
  /** Least of the chain, and the seconds to it (0 if it is over). */
  readonly notAfter: Date;
  readonly secondsLeft: number;
  /** Proxies in the chain. */
  readonly depth: number;
}

const largest = 256 * 1024;

/**
 * Reads a proxy file, or any PEM file with certificate and key. GridError not-authenticated if it is
 * missing, readable by others, or broken. @param uid if given, the file must belong to this user
 */
export async function readProxyFile(path: string, uid?: number): Promise<Credential> {
  const refuse = (detail: string, hint: string): never => {
    throw new GridError('not-authenticated', `proxy file ${path}: ${detail}`, { hint });
  };
  const file = await open(path, constants.O_RDONLY).catch((error: NodeJS.ErrnoException) =>
    refuse(error.code === 'ENOENT' ? 'there is no such file' : `it cannot be opened (${error.code})`, 'make a proxy (gridvc proxy init), or name one with X509_USER_PROXY'),
  );
  try {
    const stat = await file.stat();
    if (!stat.isFile()) refuse('it is not a regular file', 'name a file with X509_USER_PROXY');
    if ((stat.mode & 0o077) !== 0) refuse(`others may read it (mode ${(stat.mode & 0o777).toString(8)})`, `chmod 600 ${path}`);
    if (uid !== undefined && stat.uid !== uid) refuse(`it belongs to user ${stat.uid}, not to ${uid}`, 'use a proxy of your own');
    if (stat.size > largest) refuse(`it is larger than ${largest} bytes`, 'make a new proxy: gridvc proxy init');
    return parseCredential(await file.readFile('latin1'));
  } catch (error) {
    if (error instanceof DerError) refuse(error.message, 'make a new proxy: gridvc proxy init');
    throw error;
  } finally {
    await file.close();
  }
}

/** Certificate chain and key in a PEM text. DerError if either is missing, the key is encrypted, or they do not fit. */
export function parseCredential(pem: string): Credential {
  const blocks = readPem(pem);
  const certificates = blocks.filter(({ label }) => label === 'CERTIFICATE');
  const leaf = certificates[0];
  const key = blocks.find(({ label }) => label.endsWith('PRIVATE KEY'));
  if (!leaf) throw new DerError('there is no certificate in it');
  if (!key) throw new DerError('there is no private key in it');
  if (!readCertificate(leaf.der).x509.checkPrivateKey(openKey(key))) throw new DerError('its key does not belong to its first certificate');
  return { chain: certificates.map(({ der }) => writePem('CERTIFICATE', der)).join(''), key: key.text };
}

function openKey(block: PemBlock): KeyObject {
  if (block.label.startsWith('ENCRYPTED') || block.text.includes('ENCRYPTED')) throw new DerError('its private key is encrypted; a proxy has a plain one');
  try {
    return createPrivateKey(block.text);
  } catch {
    throw new DerError('its private key is malformed (PKCS#1, SEC1 and PKCS#8 are read)');
  }
}

/** The text of a proxy file, in the order that Globus writes. RSA keys as PKCS#1, as the oldest tools want them. */
export function formatProxy({ chain, key }: Credential): string {
  const [leaf, ...rest] = readPem(chain).filter(({ label }) => label === 'CERTIFICATE');
  if (!leaf) throw new DerError('there is no certificate in the chain');
  const open = createPrivateKey(key);
  const text = open.export({ type: open.asymmetricKeyType === 'rsa' ? 'pkcs1' : 'pkcs8', format: 'pem' }) as string;
  return [leaf, ...rest].map(({ der }) => writePem('CERTIFICATE', der)).toSpliced(1, 0, text).join('');
}

/** Writes a proxy file, mode 0600, whole or not at all. */
export async function writeProxyFile(path: string, credential: Credential): Promise<void> {
  const text = formatProxy(credential);
  const beside = `${path}.${randomBytes(6).toString('hex')}`;
  const file = await open(beside, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await unlink(beside).catch(() => undefined);
    throw error;
  }
}

/** What grid-proxy-info tells. Looks at names and dates only, checks no signature. DerError if it is no certificate. */
export function proxyInfo(pem: string, now = new Date()): ProxyDescription {
  const chain = readPem(pem)
    .filter(({ label }) => label === 'CERTIFICATE')
    .map(({ der }) => readCertificate(der));
  const leaf = chain[0];
  if (!leaf) throw new DerError('there is no certificate in it');
  const depth = chain.findIndex(({ proxy }) => proxy === undefined);
  const proxies = depth < 0 ? chain.length : depth;
  const endEntity = depth < 0 ? undefined : chain[depth];
  const notAfter = Math.min(...chain.slice(0, proxies + 1).map((each) => each.notAfter));
  const details = leaf.publicKey.asymmetricKeyDetails;
  return {
    subject: leaf.subject,
    issuer: leaf.issuer,
    identity: endEntity?.subject ?? chain.at(-1)?.issuer ?? leaf.issuer,
    kind: kindOf(leaf, chain.slice(0, proxies)),
    strength: details?.modulusLength ?? Number(/(\d{3})/.exec(details?.namedCurve ?? '')?.[1] ?? 256),
    algorithm: (leaf.publicKey.asymmetricKeyType ?? 'unknown').toUpperCase(),
    notAfter: new Date(notAfter),
    secondsLeft: Math.max(0, Math.floor((notAfter - now.getTime()) / 1000)),
    depth: proxies,
  };
}

function kindOf(leaf: Certificate, proxies: readonly Certificate[]): ProxyKind {
  if (!leaf.proxy) return /\/CN=(limited )?proxy$/.test(leaf.subject) ? 'legacy' : 'end-entity';
  if (proxies.some(({ proxy }) => proxy?.language === oids.limitedProxy)) return 'limited';
  if (leaf.proxy.language === oids.inheritAll) return 'proxy';
  return leaf.proxy.language === oids.independent ? 'independent' : 'unknown-policy';
}
