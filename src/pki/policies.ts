/**
 * Certificate policies (RFC 5280, 6.1) for a server that asks for none itself: what matters is whether an
 * authority demands that some policy holds along the path (policyConstraints), and if so, whether one does.
 * Sets of policies instead of the tree: the same answer, and no tree that grows without limit.
 */
import type { Certificate } from './certificate.js';
import { context, DerError, DerReader, readChildren, readOid, readOne, readSmall, tags } from './der.js';
import * as oids from './oids.js';
import { Refused } from './refusal.js';

const mostPolicies = 256;

/** @param path end entity first, the anchor last (whose policies do not count) */
export function checkPolicies(path: readonly Certificate[]): void {
  const below = path.slice(0, -1).reverse();
  if (!below.some(({ extensions }) => extensions.has(oids.policyConstraints))) return below.forEach(refuseBadExtensions);
  let valid: ReadonlySet<string> = new Set([oids.anyPolicy]);
  let left = { explicit: below.length + 1, mapping: below.length + 1, any: below.length + 1 };
  for (const [index, certificate] of below.entries()) {
    const last = index === below.length - 1;
    refuseBadExtensions(certificate);
    valid = narrow(valid, certificate, left.any > 0 || (!last && certificate.selfIssued));
    if (valid.size === 0 && left.explicit <= 0) refuse(certificate);
    if (!last) valid = mapped(valid, certificate, left.mapping > 0);
    if (last || !certificate.selfIssued) left = { explicit: left.explicit - 1, mapping: left.mapping - 1, any: left.any - 1 };
    left = tighten(left, certificate);
    if (last && valid.size === 0 && left.explicit <= 0) refuse(certificate);
  }
}

function refuse(certificate: Certificate): never {
  throw new Refused('unsupported', certificate.subject, 'an authority above it demands a certificate policy along the whole chain (policyConstraints), and none holds');
}

function refuseBadExtensions(certificate: Certificate): void {
  const constraints = certificate.extensions.get(oids.policyConstraints);
  if (constraints && !constraints.critical) throw new Refused('malformed', certificate.subject, 'its policy constraints are not critical (RFC 5280, 4.2.1.11)');
  if (certificate.extensions.has(oids.certificatePolicies)) policiesOf(certificate);
}

function narrow(valid: ReadonlySet<string>, certificate: Certificate, anyCounts: boolean): ReadonlySet<string> {
  const own = policiesOf(certificate);
  const kept = own.filter((policy) => policy !== oids.anyPolicy && (valid.has(policy) || valid.has(oids.anyPolicy)));
  return new Set(own.includes(oids.anyPolicy) && anyCounts ? [...kept, ...valid] : kept);
}

function mapped(valid: ReadonlySet<string>, certificate: Certificate, allowed: boolean): ReadonlySet<string> {
  const extension = certificate.extensions.get(oids.policyMappings);
  if (!extension) return valid;
  const pairs = readChildren(readOne(extension.value, tags.sequence), mostPolicies).map((pair) => readChildren(pair, 2).map(readOid));
  const result = new Set(valid);
  for (const [from = ''] of pairs) result.delete(from);
  for (const [from = '', to = ''] of pairs) {
    if (from === '' || to === '' || from === oids.anyPolicy || to === oids.anyPolicy) throw new Refused('malformed', certificate.subject, 'a policy mapping from or to any policy');
    if (allowed && (valid.has(from) || valid.has(oids.anyPolicy))) result.add(to);
  }
  return result;
}

interface Left {
  readonly explicit: number;
  readonly mapping: number;
  readonly any: number;
}

function tighten(left: Left, certificate: Certificate): Left {
  const inhibit = certificate.extensions.get(oids.inhibitAnyPolicy);
  const any = inhibit ? readSmall(readOne(inhibit.value)) : Infinity;
  const { explicit, mapping } = constraintsOf(certificate);
  return { explicit: Math.min(left.explicit, explicit), mapping: Math.min(left.mapping, mapping), any: Math.min(left.any, any) };
}

function constraintsOf(certificate: Certificate): { explicit: number; mapping: number } {
  const extension = certificate.extensions.get(oids.policyConstraints);
  if (!extension) return { explicit: Infinity, mapping: Infinity };
  const reader = new DerReader(readOne(extension.value, tags.sequence).body);
  const explicit = reader.optional(context(0, false));
  const mapping = reader.optional(context(1, false));
  reader.end();
  if (!explicit && !mapping) throw new DerError('empty policy constraints');
  return { explicit: explicit ? readSmall(explicit, explicit.tag) : Infinity, mapping: mapping ? readSmall(mapping, mapping.tag) : Infinity };
}

function policiesOf(certificate: Certificate): string[] {
  const extension = certificate.extensions.get(oids.certificatePolicies);
  if (!extension) return [];
  const policies = readChildren(readOne(extension.value, tags.sequence), mostPolicies).map((each) => readOid(new DerReader(each.body).next()));
  if (policies.length === 0 || new Set(policies).size < policies.length) throw new DerError('certificate policies that are empty or occur twice');
  return policies;
}
