/**
 * The validator: proxies (RFC 3820), one end entity, authorities from the trust directory (RFC 5280).
 * Node cannot do this. Authorities are taken from the directory alone, never from what the client sent,
 * so nothing that a stranger sends can make the search long.
 */
import { keyUsageBits, readCertificate, type Certificate } from './certificate.js';
import { checkKey, checkSignatureAlgorithm } from './crypto-floor.js';
import { DerError, readChildren, readOne, sameBytes, tags } from './der.js';
import { checkNameConstraints } from './name-constraints.js';
import { checkProxies, isLegacyProxy } from './proxy-rules.js';
import * as oids from './oids.js';
import { Refused, type Refusal } from './refusal.js';
import { maySign } from './signing-policy.js';
import type { Authority, Trust } from './trust-directory.js';

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
const deepestAuthority = 10;
/** Certificates of one name that are tried as the issuer of a proxy. */
const mostCandidates = 4;
const allowedSkew = 5 * 60_000;

/** Validates what the other side of a TLS handshake sent: DER, the leaf first, the rest in any order. Never throws. */
export function validateChain(chain: readonly Uint8Array[], trust: Trust, now: Date, purpose: Purpose = {}): Verdict {
  try {
    return { ok: true, identity: validate(chain, trust, now.getTime(), purpose.usage ?? 'client') };
  } catch (error) {
    if (error instanceof Refused) return { ok: false, refusal: error.refusal };
    if (error instanceof DerError) return { ok: false, refusal: new Refused('malformed', '', `malformed extension: ${error.message}`).refusal };
    throw error;
  }
}

function validate(sent: readonly Uint8Array[], trust: Trust, now: number, usage: 'client' | 'server'): GridIdentity {
  const certificates = readAll(sent);
  const proxies = orderProxies(certificates, trust.settings.proxies);
  const endEntity = proxies.endEntity;
  const authorities = findAuthorities(endEntity, trust, now);
  const whole = [...proxies.chain, endEntity, ...authorities.map(({ certificate }) => certificate)];

  for (const certificate of whole) checkDates(certificate, now);
  for (const certificate of whole) checkCritical(certificate);
  for (const certificate of whole) checkKey(certificate);
  for (const certificate of whole.slice(0, -1)) checkSignatureAlgorithm(certificate, trust.settings.sha1);
  checkAuthorities(endEntity, authorities, trust, now);
  checkEndEntity(endEntity, proxies.chain.length === 0);
  for (const certificate of [...proxies.chain, endEntity]) checkExtendedUsage(certificate, usage);
  const delegation = checkProxies(endEntity, proxies.chain, trust.settings);

  return {
    subject: delegation.named.subject,
    subjectDer: delegation.named.subjectDer,
    issuer: authorities[0]?.certificate.subject ?? '',
    limited: delegation.limited,
    independent: delegation.named !== endEntity,
    notAfter: new Date(Math.min(...whole.map(({ notAfter }) => notAfter))),
    chain: whole,
  };
}

// ---------------------------------------------------------------- reading and ordering

function readAll(sent: readonly Uint8Array[]): Certificate[] {
  if (sent.length === 0) {
    throw new Refused('no-certificate', '', 'no certificate was sent', { hint: 'make a proxy (gridvc proxy init) and name it with X509_USER_PROXY' });
  }
  if (sent.length > mostCertificates) throw new Refused('too-many', '', `${sent.length} certificates were sent; at most ${mostCertificates} are read`);
  return sent.map((raw, index) => {
    try {
      return readCertificate(raw);
    } catch (error) {
      if (error instanceof DerError) throw new Refused('malformed', '', `certificate ${index + 1} of ${sent.length} that were sent is malformed: ${error.message}`);
      throw error;
    }
  });
}

/** Walks from the leaf over the proxies to the end entity. @returns the proxies leaf first, without the end entity */
function orderProxies(certificates: readonly Certificate[], most: number): { chain: Certificate[]; endEntity: Certificate } {
  const chain: Certificate[] = [];
  let current = certificates[0] as Certificate;
  while (current.proxy || current.extensions.has(oids.draftProxyCertInfo)) {
    if (!current.proxy) throw new Refused('bad-proxy', current.subject, 'a proxy of the draft kind that came before RFC 3820', { hint: 'make an RFC 3820 proxy (grid-proxy-init -rfc)' });
    chain.push(current);
    if (chain.length > most) throw new Refused('too-many', current.subject, `more than ${most} proxies in one chain`);
    current = issuerAmong(current, certificates, chain);
  }
  if (isLegacyProxy(current)) {
    throw new Refused('bad-proxy', current.subject, 'a legacy Globus proxy, without the ProxyCertInfo extension', { hint: 'make an RFC 3820 proxy (grid-proxy-init -rfc)' });
  }
  return { chain, endEntity: current };
}

function issuerAmong(proxy: Certificate, certificates: readonly Certificate[], used: readonly Certificate[]): Certificate {
  const candidates = certificates.filter((each) => !used.includes(each) && sameBytes(each.subjectDer, proxy.issuerDer)).slice(0, mostCandidates);
  if (candidates.length === 0) {
    throw new Refused('incomplete', proxy.subject, `the certificate of its issuer ${proxy.issuer} was not sent`, { hint: 'send the whole proxy file: proxy, key and the certificates under it' });
  }
  for (const each of candidates) checkKey(each); // before it is used: an absurd key makes verifying slow
  const issuer = candidates.find((each) => signed(proxy, each));
  if (!issuer) throw new Refused('bad-signature', proxy.subject, `it is not signed by the key of ${proxy.issuer}`);
  return issuer;
}

function signed(certificate: Certificate, issuer: Certificate): boolean {
  try {
    return certificate.x509.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

// ---------------------------------------------------------------- authorities

/** The authorities above a certificate, lowest first, up to a self-issued one; all from the trust directory. */
function findAuthorities(endEntity: Certificate, trust: Trust, now: number): Authority[] {
  const found: Authority[] = [];
  let current = endEntity;
  do {
    if (found.length === deepestAuthority) throw new Refused('too-many', current.subject, `more than ${deepestAuthority} authorities above the end entity`);
    const authority = authorityOf(current, trust, now, found);
    found.push(authority);
    current = authority.certificate;
  } while (current.subjectKey !== current.issuerKey);
  return found;
}

function authorityOf(certificate: Certificate, trust: Trust, now: number, used: readonly Authority[]): Authority {
  const candidates = (trust.authorities.get(certificate.issuerKey) ?? []).filter((each) => !used.includes(each));
  if (candidates.length === 0) {
    throw new Refused('unknown-authority', certificate.subject, `its issuer ${certificate.issuer} is not in the trust directory`, {
      file: trust.directory,
      hint: 'use a certificate of an authority that this grid trusts, or ask its administrator to add the authority',
    });
  }
  const signers = candidates.filter((each) => signed(certificate, each.certificate));
  const authority = signers.find((each) => !each.broken && each.certificate.notAfter >= now) ?? signers[0];
  if (!authority) throw new Refused('bad-signature', certificate.subject, `it is not signed by the key of ${certificate.issuer}`, { file: candidates[0]?.file ?? trust.directory });
  if (authority.broken) {
    throw new Refused('authority-disabled', authority.certificate.subject, `this authority is disabled since a file of it is broken: ${authority.broken.message}`, { file: authority.broken.file });
  }
  return authority;
}

function checkAuthorities(endEntity: Certificate, authorities: readonly Authority[], trust: Trust, now: number): void {
  let below = endEntity;
  let intermediates = 0;
  for (const [index, authority] of authorities.entries()) {
    const { certificate, file } = authority;
    const refuse = (check: string): never => {
      throw new Refused('not-an-authority', certificate.subject, check, { file });
    };
    if (!certificate.authority) refuse('it signed another certificate but is no authority (basicConstraints cA)');
    if (certificate.keyUsage && !certificate.keyUsage.includes(keyUsageBits.keyCertSign)) refuse('its key usage does not allow it to sign certificates');
    if (certificate.pathLength !== undefined && intermediates > certificate.pathLength) refuse(`${intermediates} authorities stand under it; its path length allows ${certificate.pathLength}`);
    checkSigningPolicy(authority, below);
    checkRevoked(authority, below, trust, now);
    for (const each of [endEntity, ...authorities.slice(0, index).map((lower) => lower.certificate)]) checkNameConstraints(each, certificate);
    if (certificate.subjectKey !== certificate.issuerKey) intermediates++;
    below = certificate;
  }
}

function checkSigningPolicy({ certificate, policy, policyFile }: Authority, below: Certificate): void {
  if (below.authority && below.subjectKey === below.issuerKey) return;
  if (!policy) {
    throw new Refused('signing-policy', certificate.subject, 'the signing policy of this authority is missing', { file: policyFile, hint: "install the authority's signing_policy file" });
  }
  if (!maySign(policy, certificate.subject, below.subject)) {
    throw new Refused('signing-policy', below.subject, `the signing policy does not let ${certificate.subject} sign this name`, { file: policyFile });
  }
}

function checkRevoked({ certificate, crls, file }: Authority, below: Certificate, trust: Trust, now: number): void {
  const usable = crls.filter(({ crl }) => crl.thisUpdate <= now + allowedSkew);
  const revoking = usable.find(({ crl }) => crl.revoked.has(below.serial));
  if (revoking) throw new Refused('revoked', below.subject, `serial ${below.serial} was revoked by ${certificate.subject}`, { file: revoking.file });
  const current = usable.some(({ crl }) => crl.nextUpdate === undefined || crl.nextUpdate >= now);
  if (crls.length > 0 && !current) {
    throw new Refused('crl', certificate.subject, 'the revocation list of this authority has expired, or is not yet valid', { file: crls[0]?.file ?? file, hint: 'run fetch-crl on the server' });
  }
  if (crls.length === 0 && trust.settings.crl === 'require') {
    throw new Refused('crl', certificate.subject, 'there is no revocation list of this authority, and this server requires one', { file, hint: 'run fetch-crl on the server' });
  }
}

// ---------------------------------------------------------------- every certificate, and the end entity

function checkDates(certificate: Certificate, now: number): void {
  if (certificate.notAfter < now) {
    throw new Refused('expired', certificate.subject, `it expired at ${isoTime(certificate.notAfter)}; the clock here says ${isoTime(now)}`, {
      hint: certificate.proxy ? 'make a new proxy: gridvc proxy init' : 'renew the certificate',
    });
  }
  if (certificate.notBefore > now + allowedSkew) {
    throw new Refused('not-yet-valid', certificate.subject, `it is valid from ${isoTime(certificate.notBefore)}; the clock here says ${isoTime(now)}`, { hint: 'compare the clocks of both machines' });
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z');
}

const understood: readonly string[] = [
  oids.basicConstraints,
  oids.keyUsage,
  oids.extendedKeyUsage,
  oids.subjectAltName,
  oids.certificatePolicies, // nothing here asks for a policy, so every set of them will do
  oids.policyMappings,
  oids.inhibitAnyPolicy,
  oids.nameConstraints,
  oids.proxyCertInfo,
];

function checkCritical(certificate: Certificate): void {
  for (const [type, { critical }] of certificate.extensions) {
    const known = understood.includes(type) && (certificate.authority || type !== oids.nameConstraints);
    if (critical && !known) throw new Refused('unsupported', certificate.subject, `it has a critical extension that is not supported: ${type}`);
  }
}

function checkEndEntity(certificate: Certificate, leaf: boolean): void {
  if (certificate.authority) throw new Refused('wrong-usage', certificate.subject, 'an authority (cA) cannot log in or issue proxies');
  if (certificate.subjectDer.length <= 2) throw new Refused('malformed', certificate.subject, 'its subject is empty');
  const wanted: readonly number[] = leaf ? [keyUsageBits.digitalSignature, keyUsageBits.keyAgreement] : [keyUsageBits.digitalSignature];
  if (certificate.keyUsage && !certificate.keyUsage.some((bit) => wanted.includes(bit))) {
    throw new Refused('wrong-usage', certificate.subject, 'its key usage does not allow digital signatures');
  }
  const alternative = certificate.extensions.get(oids.subjectAltName);
  if (alternative && readChildren(readOne(alternative.value, tags.sequence)).length === 0) throw new Refused('malformed', certificate.subject, 'it has an empty list of alternative names');
}

/** RFC 3820, 4.2: what a chain may be used for is what every certificate of it allows. */
function checkExtendedUsage(certificate: Certificate, usage: 'client' | 'server'): void {
  const wanted = usage === 'client' ? oids.clientAuth : oids.serverAuth;
  const usages = certificate.extendedKeyUsage;
  if (!usages || usages.includes(wanted) || usages.includes(oids.anyExtendedKeyUsage)) return;
  throw new Refused('wrong-usage', certificate.subject, `its extended key usage does not allow it as a TLS ${usage}`);
}
