/**
 * Finds the authorities above an end entity: several may bear the issuer's name (a new key, a cross
 * certificate), so every candidate is tried, the likeliest first, within a bounded number of steps. What costs
 * nothing is checked while walking; name constraints, policies, CRLs and, at the very end, signatures on whole paths.
 */
import { keyUsageBits, type Certificate } from './certificate.js';
import { allowedSkew, checkCritical, checkDates } from './certificate-checks.js';
import { checkKey, checkSignatureAlgorithm } from './crypto-floor.js';
import { DerError } from './der.js';
import { checkNameConstraints } from './name-constraints.js';
import { checkPolicies } from './policies.js';
import { Refused } from './refusal.js';
import { isIssuedBy } from './signature.js';
import { maySign } from './signing-policy.js';
import type { Authority, Trust } from './trust.js';

const mostSteps = 256;
/** Whole paths whose signatures are checked. */
const mostPaths = 16;
/** 20, and the zero byte in front of a number whose highest bit is set. */
const longestSerial = 21;

interface Failure {
  readonly error: Refused;
  /** From the end entity up to the candidate that was refused. */
  readonly path: readonly Certificate[];
}

interface Search {
  readonly endEntity: Certificate;
  readonly trust: Trust;
  readonly now: number;
  readonly sent: ReadonlyMap<string, readonly Authority[]>;
  readonly failures: Failure[];
  steps: number;
  paths: number;
}

/**
 * The authorities above `endEntity`, lowest first, up to an anchor; throws Refused if there is no valid path.
 * @param sent other certificates from the peer, used only if the settings say so
 */
export function findAuthorities(endEntity: Certificate, sent: readonly Certificate[], trust: Trust, now: number): readonly Authority[] {
  const search: Search = { endEntity, trust, now, sent: sentAuthorities(endEntity, sent, trust), failures: [], steps: 0, paths: 0 };
  const found = climb(search, endEntity, []);
  if (found) return found;
  throw likeliest(search);
}

function climb(search: Search, below: Certificate, path: readonly Authority[]): readonly Authority[] | undefined {
  const candidates = candidatesFor(search, below, path);
  if (candidates.length === 0) {
    const hint = 'use a certificate of an authority that this grid trusts, or ask its administrator to add the authority';
    fail(search, new Refused('unknown-authority', below.subject, `its issuer ${below.issuer} is not in the trust directory`, { file: search.trust.directory, hint }), path);
  }
  for (const authority of candidates) {
    if (++search.steps > mostSteps || search.paths > mostPaths) return undefined;
    const whole = [...path, authority];
    const found = attempt(search, whole, () => {
      checkLink(authority, below, path, search);
      if (!authority.anchor) return 'more';
      search.paths++;
      checkWhole(search, whole);
      return 'done';
    });
    if (found === 'done') return whole;
    const higher = found === 'more' ? climb(search, authority.certificate, whole) : undefined;
    if (higher) return higher;
  }
  return undefined;
}

function attempt<T>(search: Search, path: readonly Authority[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    const refusal = error instanceof DerError ? new Refused('malformed', path.at(-1)?.certificate.subject ?? '', `malformed: ${error.message}`) : error;
    if (!(refusal instanceof Refused)) throw error;
    fail(search, refusal, path);
    return undefined;
  }
}

function fail({ endEntity, failures }: Search, error: Refused, path: readonly Authority[]): void {
  failures.push({ error, path: [endEntity, ...path.map(({ certificate }) => certificate)] });
}

/** Of several failures the one to tell: the first on a path whose signatures are right, since the others were never meant. */
function likeliest({ failures, endEntity, steps, paths }: Search): Refused {
  if (steps > mostSteps || paths > mostPaths) return new Refused('too-many', endEntity.subject, `no valid path within ${mostSteps} steps and ${mostPaths} whole paths`);
  const meant = failures.length === 1 ? failures[0] : failures.find(({ path }) => path.every((each, index) => index === 0 || isIssuedBy(path[index - 1] as Certificate, each)));
  return (meant ?? failures.find(({ error }) => error.refusal.code === 'bad-signature') ?? (failures[0] as Failure)).error;
}

// ---------------------------------------------------------------- candidates

function candidatesFor({ trust, sent, now }: Search, below: Certificate, path: readonly Authority[]): Authority[] {
  const named = [...(trust.authorities.get(below.issuerKey) ?? []), ...(sent.get(below.issuerKey) ?? [])];
  const fresh = named.length === 0 ? named : named.filter(({ certificate }) => !path.some((each) => isSameAuthority(each.certificate, certificate)) && certificate.fingerprint !== below.fingerprint);
  return fresh.length < 2 ? fresh : fresh.toSorted((a, b) => rank(b, below, now) - rank(a, below, now));
}

/** One name with one key need not stand in a path twice. */
function isSameAuthority(one: Certificate, other: Certificate): boolean {
  return one.subjectKey === other.subjectKey && Buffer.compare(one.spki, other.spki) === 0;
}

/** The key identifiers count most; they choose, they refuse nobody. */
function rank({ certificate, broken, anchor }: Authority, below: Certificate, now: number): number {
  const asked = below.issuerKeyIdentifier;
  const fits = asked === undefined || certificate.keyIdentifier === undefined ? 1 : asked === certificate.keyIdentifier ? 2 : 0;
  const valid = certificate.notBefore <= now + allowedSkew && now < certificate.notAfter + 1000;
  return fits * 8 + (broken ? 0 : 4) + (valid ? 2 : 0) + (anchor ? 1 : 0);
}

function sentAuthorities(endEntity: Certificate, sent: readonly Certificate[], trust: Trust): ReadonlyMap<string, readonly Authority[]> {
  const map = new Map<string, Authority[]>();
  if (trust.settings.intermediates !== 'sent') return map;
  for (const certificate of sent) {
    if (certificate === endEntity || certificate.proxy) continue;
    map.set(certificate.subjectKey, [...(map.get(certificate.subjectKey) ?? []), { certificate, file: '', policy: 'any', policyFile: '', anchor: false, crls: [] }]);
  }
  return map;
}

// ---------------------------------------------------------------- one link

function checkLink(authority: Authority, below: Certificate, path: readonly Authority[], { trust, now }: Search): void {
  const { certificate, broken } = authority;
  const options = authority.file === '' ? {} : { file: authority.file };
  if (broken) throw new Refused('authority-disabled', certificate.subject, `this authority is disabled since a file of it is broken: ${broken.message}`, { file: broken.file });
  const refuse = (check: string): never => {
    throw new Refused('not-an-authority', certificate.subject, check, options);
  };
  const intermediates = path.filter((each) => !each.certificate.selfIssued).length;
  if (intermediates > trust.settings.depth) throw new Refused('too-many', certificate.subject, `more than ${trust.settings.depth} authorities between the end entity and the anchor`);
  if (!certificate.authority) refuse('it signed another certificate but is no authority (basicConstraints cA)');
  if (certificate.keyUsage && !certificate.keyUsage.includes(keyUsageBits.keyCertSign)) refuse('its key usage does not allow it to sign certificates');
  if (certificate.subjectRdns.length === 0) refuse('it has no name');
  if (below.serial.length > 2 * longestSerial) throw new Refused('malformed', below.subject, `its serial number has more than ${longestSerial} bytes (RFC 5280, 4.1.2.2)`);
  if (certificate.pathLength !== undefined && intermediates > certificate.pathLength) refuse(`${intermediates} authorities stand under it; its path length allows ${certificate.pathLength}`);
  checkDates(certificate, now);
  checkCritical(certificate);
  checkKey(certificate);
  checkSignatureAlgorithm(below, trust.settings.sha1);
  checkSigningPolicy(authority, below);
}

function checkSigningPolicy({ certificate, policy, policyFile }: Authority, below: Certificate): void {
  if (policy === 'any' || (below.authority && below.selfIssued)) return;
  if (!policy) throw new Refused('signing-policy', certificate.subject, 'the signing policy of this authority is missing', { file: policyFile, hint: "install the authority's signing_policy file" });
  if (!maySign(policy, certificate.subject, below.subject)) {
    throw new Refused('signing-policy', below.subject, `the signing policy does not let ${certificate.subject} sign this name`, { file: policyFile });
  }
}

// ---------------------------------------------------------------- a whole path

function checkWhole({ endEntity, trust, now }: Search, authorities: readonly Authority[]): void {
  const path = [endEntity, ...authorities.map(({ certificate }) => certificate)];
  checkNameConstraints(path);
  checkPolicies(path);
  for (const [index, authority] of authorities.entries()) checkRevoked(authority, path[index] as Certificate, trust, now);
  for (const [index, authority] of authorities.entries()) checkSignature(authority, path[index] as Certificate);
}

/** For what an authority issued; never for proxies, whose serials mean nothing. */
function checkRevoked({ certificate, crls, file }: Authority, below: Certificate, trust: Trust, now: number): void {
  const usable = crls.filter(({ crl }) => crl.thisUpdate <= now + allowedSkew);
  const revoking = usable.find(({ crl }) => crl.revoked.has(below.serial));
  if (revoking) throw new Refused('revoked', below.subject, `serial ${below.serial} was revoked by ${certificate.subject}`, { file: revoking.file });
  const current = usable.some(({ crl }) => now < crl.nextUpdate + 1000);
  if (crls.length > 0 && !current) {
    throw new Refused('crl', certificate.subject, 'the revocation list of this authority has expired, or is not yet valid', { file: crls[0]?.file ?? file, hint: 'run fetch-crl on the server' });
  }
  if (crls.length === 0 && trust.settings.crl === 'require') {
    throw new Refused('crl', certificate.subject, 'there is no revocation list of this authority, and this server requires one', { file, hint: 'run fetch-crl on the server' });
  }
}

function checkSignature({ certificate, file }: Authority, below: Certificate): void {
  if (!isIssuedBy(below, certificate)) throw new Refused('bad-signature', below.subject, `it is not signed by the key of ${certificate.subject}`, { file });
}
