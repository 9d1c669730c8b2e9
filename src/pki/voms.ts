/**
 * VOMS attributes of a chain that was validated: an attribute certificate counts if it speaks of this end
 * entity, is in time, and is signed by a server that the vomsdir names for its VO and whose own
 * certificate is valid here. One that does not count gives a warning; it never refuses the login.
 */
import { readAttributeCertificate, splitAttributeCertificates, type AttributeCertificate } from './attribute-certificate.js';
import { allowedSkew, checkCritical, checkDates } from './certificate-checks.js';
import { keyUsageBits, type Certificate } from './certificate.js';
import { checkKey } from './crypto-floor.js';
import { DerError, type Der } from './der.js';
import { comparableDn } from './dn.js';
import { findAuthorities } from './path.js';
import * as oids from './oids.js';
import { Refused } from './refusal.js';
import { isSignature } from './signature.js';
import type { Trust } from './trust.js';
import type { LscFile, VomsTrust } from './voms-trust.js';

/** The attribute certificate is not believed; the message says why. */
class Disbelief extends Error {}

const understood: readonly string[] = [oids.acNoRevocation, oids.authorityKeyIdentifier, oids.vomsCertificates, oids.vomsTags];

/**
 * FQANs of the proxy nearest to the leaf that has any, in order.
 * @param proxies leaf first, all of them speaking for `endEntity`
 */
export function readFqans(proxies: readonly Certificate[], endEntity: Certificate, trust: Trust, now: number): { fqans: string[]; warnings: string[] } {
  const { voms } = trust;
  const extension = voms && proxies.find(({ extensions }) => extensions.has(oids.vomsAttributeCertificates))?.extensions.get(oids.vomsAttributeCertificates);
  const fqans: string[] = [];
  const warnings: string[] = [];
  if (!voms || !extension) return { fqans, warnings };
  const believed = disbelieving(warnings, () => splitAttributeCertificates(extension.value)) ?? [];
  for (const each of believed) fqans.push(...(disbelieving(warnings, () => verified(each, endEntity, trust, voms, now)) ?? []));
  return { fqans: [...new Set(fqans)], warnings };
}

function disbelieving<T>(warnings: string[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof DerError || error instanceof Disbelief || error instanceof Refused)) throw error;
    const message = error instanceof Refused ? `its server's certificate is refused: ${error.refusal.message}` : error.message;
    warnings.push(`a VOMS attribute certificate is not believed: ${message}`);
    return undefined;
  }
}

/** Cheap checks first, signatures last. */
function verified(der: Der, endEntity: Certificate, trust: Trust, voms: VomsTrust, now: number): readonly string[] {
  const attributes = readAttributeCertificate(der);
  const { holder, vo, fqans } = attributes;
  // RFC 5755 names the holder's issuer; VOMS servers write the holder's own name there, and VOMS takes both
  const isHolder = holder.serial === endEntity.serial && [endEntity.issuerKey, endEntity.subjectKey].includes(holder.nameKey);
  if (!isHolder) throw new Disbelief(`it (VO ${vo}) was issued for another certificate than that of ${endEntity.subject}`);
  if (now >= attributes.notAfter + 1000) throw new Disbelief(`it (VO ${vo}) expired at ${new Date(attributes.notAfter).toISOString()}`);
  if (attributes.notBefore > now + allowedSkew) throw new Disbelief(`it (VO ${vo}) is valid from ${new Date(attributes.notBefore).toISOString()}`);
  for (const [type, { critical }] of attributes.extensions) {
    if (type === oids.acTargets) throw new Disbelief(`it (VO ${vo}) is aimed at other servers (targets)`);
    if (critical && !understood.includes(type)) throw new Disbelief(`it (VO ${vo}) has a critical extension that is not supported: ${type}`);
  }
  const foreign = fqans.find((fqan) => fqan !== `/${vo}` && !fqan.startsWith(`/${vo}/`));
  if (foreign !== undefined) throw new Disbelief(`its FQAN ${foreign} is not of its VO ${vo}`);
  const weak = oids.signatureAlgorithms[attributes.signature.oid]?.weak;
  if (weak && !(weak === 'sha1' && trust.settings.sha1)) throw new Disbelief(`it (VO ${vo}) is signed with an algorithm that is too weak (${weak})`);
  const { signer, lsc } = findSigner(attributes, voms);
  const authorities = checkSigner(signer, attributes, trust, now);
  const path = [signer, ...authorities].map(({ subject }) => subject);
  if (lsc && !lsc.chains.some((chain) => isStart(chain, path))) throw new Disbelief(`the authorities above its server ${signer.subject} are not those that ${lsc.file} names`);
  return fqans;
}

/** By .lsc: the server's certificate that came along, with the DNs of the file; else one that is installed. */
function findSigner(attributes: AttributeCertificate, voms: VomsTrust): { signer: Certificate; lsc?: LscFile } {
  const { vo, host, certificates, issuerKey } = attributes;
  const organisation = voms.organisations.get(vo);
  const lsc = organisation?.lsc.get(host);
  const [first] = certificates;
  if (lsc && first) {
    if (!lsc.chains.some((chain) => isStart(chain.slice(0, 2), [first.subject, first.issuer]))) throw new Disbelief(`its server ${first.subject} is not the one that ${lsc.file} names`);
    if (first.subjectKey !== issuerKey) throw new Disbelief(`its issuer is not ${first.subject}, whose certificate it brings`);
    return { signer: first, lsc };
  }
  const installed = voms.servers.find((server) => (server.vo === '' || server.vo === vo) && server.certificate.subjectKey === issuerKey && wasSignedBy(attributes, server.certificate));
  if (installed) return { signer: installed.certificate };
  const broken = organisation?.broken.find(({ file }) => file.endsWith(`/${host}.lsc`));
  if (broken) throw new Disbelief(`${broken.file} is broken: ${broken.message}`);
  throw new Disbelief(lsc ? `it brings no server certificate to compare with ${lsc.file}` : `${voms.directory}/${vo}/${host}.lsc does not exist, and no installed certificate of a VOMS server fits`);
}

/** DN by DN, from the server upwards; the file may stop below the anchor. */
function isStart(chain: readonly string[], path: readonly string[]): boolean {
  return chain.every((dn, index) => comparableDn(dn) === comparableDn(path[index] ?? ''));
}

const wasSignedBy = ({ content, signature, signatureValue }: AttributeCertificate, signer: Certificate): boolean => isSignature(content, signature, signatureValue, signer);

/** The server's certificate is one of an end entity, valid here as any other, and made the signature. */
function checkSigner(signer: Certificate, attributes: AttributeCertificate, trust: Trust, now: number): Certificate[] {
  if (signer.authority || signer.proxy) throw new Disbelief(`its signer ${signer.subject} is an authority or a proxy`);
  if (signer.keyUsage && !signer.keyUsage.includes(keyUsageBits.digitalSignature)) throw new Disbelief(`the key usage of its signer ${signer.subject} does not allow signatures`);
  checkDates(signer, now);
  checkCritical(signer);
  checkKey(signer);
  const authorities = findAuthorities(signer, attributes.certificates, trust, now).map(({ certificate }) => certificate);
  if (!wasSignedBy(attributes, signer)) throw new Disbelief(`it is not signed by the key of ${signer.subject}`);
  return authorities;
}
