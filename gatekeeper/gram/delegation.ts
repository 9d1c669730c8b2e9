/**
 * GSI delegation as the acceptor: a certificate request goes out, one certificate comes back, and with the chain that the
 * client showed in TLS it is the user's delegated credential (GRAM5.md 4). Keys are EC P-256 and each is used once; a few
 * are made ahead, since a user waits for this (a fresh RSA key would be 100 ms of processor time).
 */
import { GridError } from '../../src/domain/error.js';
import type { Caller } from '../../src/domain/views.js';
import { readCertificate } from '../../src/pki/certificate.js';
import type { GridIdentity } from '../../src/pki/chain.js';
import { DerError, DerReader, sameBytes, tags } from '../../src/pki/der.js';
import { makeKeyAndRequest } from '../../src/pki/issue.js';
import { certificatesOf, writePem } from '../../src/pki/pem.js';
import type { JobCredential } from './port.js';

/** A key that waits for its certificate. */
export interface DelegationKey {
  /** PEM PKCS#8. */
  readonly key: string;
  /** DER of its SubjectPublicKeyInfo, and of a PKCS#10 request. */
  readonly spki: Uint8Array;
  readonly request: Uint8Array;
}

/** Keys made ahead: `depth` of them, refilled in the background. */
export class KeyPool {
  readonly #ready: DelegationKey[] = [];
  #making: Promise<void> | undefined;

  constructor(private readonly depth = 64) {
    void this.fill();
  }

  /** Resolves when the pool is full. */
  fill(): Promise<void> {
    return (this.#making ??= this.#make().finally(() => (this.#making = undefined)));
  }

  async take(): Promise<DelegationKey> {
    const key = this.#ready.pop() ?? (await makeKeyAndRequest());
    if (this.#ready.length < this.depth / 2) setImmediate(() => void this.fill());
    return key;
  }

  async #make(): Promise<void> {
    while (this.#ready.length < this.depth) {
      this.#ready.push(await makeKeyAndRequest());
      await new Promise((resolve) => setImmediate(resolve)); // who is being served goes first
    }
  }
}

/** Judges a chain (DER, leaf first): signatures, trust directory, dates. Throws not-authenticated. */
export type Identify = (chain: readonly Uint8Array[], now: Date) => GridIdentity;

export interface Delegated {
  readonly caller: Caller;
  readonly key: DelegationKey;
  readonly certificate: Uint8Array;
  /** What the client showed in TLS, leaf first. */
  readonly above: readonly Uint8Array[];
}

/**
 * Checks what the client signed and makes the credential of it. not-authenticated, not-authorized or bad-request say why
 * not: it must be for our key, signed by the first certificate above it, valid under the trust directory, and the caller's own.
 */
export function credentialFrom({ caller, key, certificate, above }: Delegated, identify: Identify): JobCredential {
  const fresh = read(certificate);
  if (!sameBytes(fresh.spki, key.spki)) throw new GridError('bad-request', 'the delegated certificate is not for the key of our request');
  const [leaf] = above;
  if (!leaf || !sameBytes(fresh.issuerDer, read(leaf).subjectDer)) throw new GridError('bad-request', 'the delegated certificate is not issued by the certificate that the client authenticated with');
  const identity = identify([certificate, ...above], new Date());
  if (!sameBytes(identity.chain[1]?.raw ?? new Uint8Array(), leaf)) throw new GridError('bad-request', 'the delegated certificate is not signed by the certificate that the client authenticated with');
  if (identity.subject !== caller.subject) throw new GridError('not-authorized', `the delegated proxy is of ${identity.subject}, not of ${caller.subject}`);
  const own = identity.chain.slice(0, 1 + identity.chain.findIndex(({ proxy }) => proxy === undefined));
  const credential = { chain: own.map(({ raw }) => writePem('CERTIFICATE', raw)).join(''), key: key.key, notAfter: identity.notAfter, limited: identity.limited };
  subjects.set(credential, identity.subject);
  return credential;
}

/** Of credentials that were checked in this process. */
const subjects = new WeakMap<JobCredential, string>();

/** Whose credential it is; one that was kept over a restart is checked again. Throws not-authenticated if it has ended. */
export function subjectOf(credential: JobCredential, identify: Identify): string {
  if (credential.notAfter.getTime() <= Date.now()) throw new GridError('not-authenticated', `the delegated credential ended at ${credential.notAfter.toISOString()}`, { hint: 'renew it: globusrun -y CONTACT' });
  const subject = subjects.get(credential) ?? identify(certificatesOf(credential.chain), new Date()).subject;
  subjects.set(credential, subject);
  return subject;
}

/** A proxy file of it: certificate, key, chain. The key is ours (EC, PKCS#8) and stands as the tools want it: it need not be opened, which takes a millisecond. */
export function proxyText({ chain, key }: JobCredential): string {
  const [leaf = '', ...above] = chain.split(/(?=-----BEGIN CERTIFICATE-----)/);
  return [leaf, key, ...above].join('');
}

/** The first of the certificates that a renewal brings (new one, issuer, chain): the chain is known from TLS. */
export function firstCertificate(bytes: Uint8Array): Uint8Array {
  try {
    return new DerReader(bytes).next(tags.sequence).raw;
  } catch (error) {
    throw asBadRequest(error);
  }
}

function read(raw: Uint8Array): ReturnType<typeof readCertificate> {
  try {
    return readCertificate(raw);
  } catch (error) {
    throw asBadRequest(error);
  }
}

function asBadRequest(error: unknown): unknown {
  return error instanceof DerError ? new GridError('bad-request', `the delegated certificate is malformed: ${error.message}`) : error;
}
