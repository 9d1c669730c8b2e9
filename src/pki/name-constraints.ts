/**
 * Name constraints of authorities (RFC 5280, 4.2.1.10). Directory names are evaluated on the subject;
 * other forms are not: a certificate that holds a name of a constrained other form is refused.
 */
import type { Certificate } from './certificate.js';
import { canonicalName, readName } from './dn.js';
import { context, DerReader, readChildren, readOne, tags, type Der } from './der.js';
import * as oids from './oids.js';
import { Refused } from './refusal.js';

const directoryName = context(4);
const rfc822Name = context(1, false);
const emailAddress = '1.2.840.113549.1.9.1';

interface Constraints {
  readonly permitted: readonly Der[];
  readonly excluded: readonly Der[];
}

/** Refuses `certificate` if its names break the constraints of `authority`, one of the authorities above it. */
export function checkNameConstraints(certificate: Certificate, authority: Certificate): void {
  const extension = authority.extensions.get(oids.nameConstraints);
  if (!extension) return;
  const constraints = readConstraints(extension.value);
  const refuse = (check: string): never => {
    throw new Refused('name-constraints', certificate.subject, `${check} of the authority ${authority.subject}`);
  };
  const subject = canonicalName(certificate.subjectDer);
  const within = (base: Der): boolean => base.tag === directoryName && startsWith(subject, canonicalName(readOne(base.body, tags.sequence).raw));
  if (constraints.excluded.some(within)) refuse('its subject is excluded by the name constraints');
  const permitted = constraints.permitted.filter(({ tag }) => tag === directoryName);
  if (permitted.length > 0 && subject.length > 0 && !permitted.some(within)) refuse('its subject is not permitted by the name constraints');
  const otherForms = new Set([...constraints.permitted, ...constraints.excluded].map(({ tag }) => tag).filter((tag) => tag !== directoryName));
  for (const form of namesBeyondSubject(certificate)) {
    if (otherForms.has(form) || (form === directoryName && constraints.permitted.length + constraints.excluded.length > 0)) {
      refuse('it holds an alternative name of a form that the name constraints restrict: such names are not evaluated, so it is refused; constraints');
    }
  }
}

function readConstraints(value: Uint8Array): Constraints {
  const reader = new DerReader(readOne(value, tags.sequence).body);
  const permitted = reader.optional(context(0));
  const excluded = reader.optional(context(1));
  reader.end();
  return { permitted: subtrees(permitted), excluded: subtrees(excluded) };
}

function subtrees(list: Der | undefined): Der[] {
  return list ? readChildren(list).map((subtree) => new DerReader(subtree.body).next()) : [];
}

function namesBeyondSubject(certificate: Certificate): number[] {
  const alternative = certificate.extensions.get(oids.subjectAltName);
  const forms = alternative ? readChildren(readOne(alternative.value, tags.sequence)).map(({ tag }) => tag) : [];
  const mail = readName(certificate.subjectDer).some((rdn) => rdn.some(({ type }) => type === emailAddress));
  return mail ? [...forms, rfc822Name] : forms;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && Buffer.compare(bytes.subarray(0, prefix.length), prefix) === 0;
}
