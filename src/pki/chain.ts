/**
 * The validator: proxies (RFC 3820), one end entity, authorities from the trust directory (RFC 5280), VOMS
 * attributes. Node cannot do this. A value in, a value out: certificates, trust and time are given. What is
 * cheap is checked first and signatures last, so that a bad login costs less than a good one.
 */
import { checkCritical, checkDates } from './certificate-checks.js';
import { keyUsageBits, readCertificate, type Certificate } from './certificate.js';
import { checkKey, checkKeyIsOne, checkSignatureAlgorithm } from './crypto-floor.js';
import { DerError, sameBytes } from './der.js';
import { readGeneralNames } from './general-names.js';
import { findAuthorities } from './path.js';
import { checkProxies, isLegacyProxy } from './proxy-rules.js';
import * as oids from './oids.js';
import { Refused, type Refusal } from './refusal.js';
import { isIssuedBy } from './signature.js';
import type { Trust } from './trust.js';
import { readFqans } from './voms.js';

export interface GridIdentity {
  /** Globus DN: of the end entity, or of the last independent proxy if there is one. */
  readonly subject: string;
  readonly subjectDer: Uint8Array;
  /** Globus DN of the authority that issued the end entity. */
  readonly issuer: string;
  /** Some proxy of the chain is a limited one: it may not start jobs. */
  readonly limited: boolean;
  /** The subject is a proxy's own name, not the end entity's. */
  readonly independent: boolean;
  /** VOMS attributes that were verified, as they stand, the primary one first. */
  readonly fqans: readonly string[];
  /** Why attributes of the chain were not believed. */
  readonly warnings: readonly string[];
  /** The least of the whole chain. */
  readonly notAfter: Date;
  /** Leaf first, the trust anchor last. */
  readonly chain: readonly Certificate[];
}

export type Verdict = { readonly ok: true; readonly identity: GridIdentity } | { readonly ok: false; readonly refusal: Refusal };

export interface Purpose {
  /** What the leaf is used for in TLS; default client. */
  readonly usage?: 'client' | 'server';
}

const mostCertificates = 64;
/** Certificates of one name that are tried as the issuer of a proxy. */
const mostCandidates = 4;

/** Validates what the other side of a TLS handshake sent: DER, the leaf first, the rest in any order. Never throws. */
export function validateChain(chain: readonly Uint8Array[], trust: Trust, now: Date, purpose: Purpose = {}): Verdict {
  try {
    return { ok: true, identity: validate(chain, trust, now.getTime(), purpose.usage ?? 'client') };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, refusal: error.refusal };
    if (error instanceof DerError) return { ok: false, refusal: new Refused('malformed', '', `malformed: ${error.message}`).refusal };
    throw error;
  }
}

function validate(sent: readonly Uint8Array[], trust: Trust, now: number, usage: 'client' | 'server'): GridIdentity {
  const certificates = readAll(sent, trust.settings.intermediates === 'sent' ? 4 * mostCertificates : mostCertificates);
  const { proxies, endEntity } = orderProxies(certificates, trust.settings.proxies);
  for (const certificate of [...proxies, endEntity]) checkCheaply(certificate, now, usage);
  for (const proxy of proxies) checkSignatureAlgorithm(proxy, trust.settings.sha1);
  checkEndEntity(endEntity, proxies.length === 0);
  const delegation = checkProxies(endEntity, proxies, trust.settings);
  const authorities = findAuthorities(endEntity, certificates, trust, now);
  checkProxySignatures(proxies, endEntity);

  const whole = [...proxies, endEntity, ...authorities.map(({ certificate }) => certificate)];
  const attributes = delegation.named === endEntity ? readFqans(proxies, endEntity, trust, now) : { fqans: [], warnings: [] };
  return {
    subject: delegation.named.subject,
    subjectDer: delegation.named.subjectDer,
    issuer: authorities[0]?.certificate.subject ?? '',
    limited: delegation.limited,
    independent: delegation.named !== endEntity,
    ...attributes,
    notAfter: new Date(Math.min(...whole.map(({ notAfter }) => notAfter))),
    chain: whole,
  };
}

// ---------------------------------------------------------------- reading and ordering

function readAll(sent: readonly Uint8Array[], most: number): Certificate[] {
  if (sent.length === 0) {
    throw new Refused('no-certificate', '', 'no certificate was sent', { hint: 'make a proxy (gridvc proxy init) and name it with X509_USER_PROXY' });
  }
  if (sent.length > most) throw new Refused('too-many', '', `${sent.length} certificates were sent; at most ${most} are read`);
  return sent.map((raw, index) => {
    try {
      return readCertificate(raw);
    } catch (error) {
      if (error instanceof DerError) throw new Refused('malformed', '', `certificate ${index + 1} of ${sent.length} that were sent is malformed: ${error.message}`);
      throw error;
    }
  });
}

/** Walks from the leaf over the proxies to the end entity. @returns the proxies leaf first */
function orderProxies(certificates: readonly Certificate[], most: number): { proxies: Certificate[]; endEntity: Certificate } {
  const proxies: Certificate[] = [];
  let current = certificates[0] as Certificate;
  while (current.proxy || current.extensions.has(oids.draftProxyCertInfo)) {
    if (!current.proxy) throw new Refused('bad-proxy', current.subject, 'a proxy of the draft kind that came before RFC 3820', { hint: 'make an RFC 3820 proxy (grid-proxy-init -rfc)' });
    proxies.push(current);
    if (proxies.length > most) throw new Refused('too-many', current.subject, `more than ${most} proxies in one chain`);
    current = issuerAmong(current, certificates, proxies);
  }
  if (isLegacyProxy(current)) {
    throw new Refused('bad-proxy', current.subject, 'a legacy Globus proxy, without the ProxyCertInfo extension', { hint: 'make an RFC 3820 proxy (grid-proxy-init -rfc)' });
  }
  return { proxies, endEntity: current };
}

/** Signatures are looked at here only if several certificates bear the issuer's name. */
function issuerAmong(proxy: Certificate, certificates: readonly Certificate[], used: readonly Certificate[]): Certificate {
  const named = certificates.filter((each) => !used.includes(each) && sameBytes(each.subjectDer, proxy.issuerDer)).slice(0, mostCandidates);
  const candidates = named.filter((each, index) => index === named.findIndex(({ raw }) => sameBytes(raw, each.raw)));
  const [first, ...others] = candidates;
  if (!first) {
    throw new Refused('incomplete', proxy.subject, `the certificate of its issuer ${proxy.issuer} was not sent`, { hint: 'send the whole proxy file: proxy, key and the certificates under it' });
  }
  if (others.length === 0) return first;
  for (const each of candidates) checkKey(each); // before it is used: an absurd key makes verifying slow
  return candidates.find((each) => isIssuedBy(proxy, each)) ?? first;
}

function checkProxySignatures(proxies: readonly Certificate[], endEntity: Certificate): void {
  for (const [index, proxy] of proxies.entries()) {
    const issuer = proxies[index + 1] ?? endEntity;
    if (!isIssuedBy(proxy, issuer)) throw new Refused('bad-signature', proxy.subject, `it is not signed by the key of ${proxy.issuer}`);
  }
  checkKeyIsOne(proxies[0] ?? endEntity); // the keys above it were used just now
}

// ---------------------------------------------------------------- proxies and the end entity

function checkCheaply(certificate: Certificate, now: number, usage: 'client' | 'server'): void {
  checkDates(certificate, now);
  checkCritical(certificate);
  checkKey(certificate);
  checkExtendedUsage(certificate, usage);
}

function checkEndEntity(certificate: Certificate, leaf: boolean): void {
  const { keyUsage } = certificate;
  if (certificate.authority) throw new Refused('wrong-usage', certificate.subject, 'an authority (cA) cannot log in or issue proxies');
  if (certificate.subjectRdns.length === 0) throw new Refused('malformed', certificate.subject, 'its subject is empty');
  if (certificate.extensions.has(oids.nameConstraints)) throw new Refused('malformed', certificate.subject, 'it has name constraints, but is no authority (RFC 5280, 4.2.1.10)');
  if (keyUsage?.includes(keyUsageBits.keyCertSign)) throw new Refused('malformed', certificate.subject, 'its key usage allows it to sign certificates, but it is no authority (RFC 5280, 4.2.1.3)');
  const wanted: readonly number[] = leaf ? [keyUsageBits.digitalSignature, keyUsageBits.keyAgreement] : [keyUsageBits.digitalSignature];
  if (keyUsage && !keyUsage.some((bit) => wanted.includes(bit))) throw new Refused('wrong-usage', certificate.subject, 'its key usage does not allow digital signatures');
  const alternative = certificate.extensions.get(oids.subjectAltName);
  try {
    if (alternative) readGeneralNames(alternative.value);
  } catch (error) {
    if (error instanceof DerError) throw new Refused('malformed', certificate.subject, `its alternative names are malformed: ${error.message}`);
    throw error;
  }
}

/** RFC 3820, 4.2: what a chain may be used for is what every certificate of it allows. */
function checkExtendedUsage(certificate: Certificate, usage: 'client' | 'server'): void {
  const wanted = usage === 'client' ? oids.clientAuth : oids.serverAuth;
  const usages = certificate.extendedKeyUsage;
  if (!usages || usages.includes(wanted) || usages.includes(oids.anyExtendedKeyUsage)) return;
  throw new Refused('wrong-usage', certificate.subject, `its extended key usage does not allow it as a TLS ${usage}`);
}
