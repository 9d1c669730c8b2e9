/**
 * Name constraints of authorities (RFC 5280, 4.2.1.10 and 6.1.4): DNS names, mail addresses, URIs, IP
 * addresses and directory names, the anchor's too. A name of another form that is constrained is refused.
 * Work is bounded: names times constraints.
 */
import type { Certificate } from './certificate.js';
import { canonicalRdns } from './dn.js';
import { context, DerError, DerReader, readChildren, readOne, tags, type Der } from './der.js';
import { hostOfUri, isHostName, readGeneralName, readGeneralNames, splitMailbox, type GeneralName } from './general-names.js';
import * as oids from './oids.js';
import { Refused } from './refusal.js';

const mostComparisons = 50_000;
const emailAddress = '1.2.840.113549.1.9.1';

interface Constraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

/**
 * Checks the names of every certificate under each authority that has constraints.
 * @param path end entity first, the anchor last
 */
export function checkNameConstraints(path: readonly Certificate[]): void {
  let comparisons = 0;
  for (const [index, authority] of path.entries()) {
    const extension = authority.extensions.get(oids.nameConstraints);
    if (!extension) continue;
    const constraints = readConstraints(extension.value);
    const below = path.slice(0, index).filter((each, at) => at === 0 || !each.selfIssued);
    for (const certificate of below) {
      const names = namesOf(certificate);
      comparisons += names.length * (constraints.permitted.length + constraints.excluded.length);
      if (comparisons > mostComparisons) throw new Refused('too-many', certificate.subject, `its names and the name constraints of ${authority.subject} are too many to compare`);
      for (const name of names) checkName(name, constraints, certificate, authority);
    }
  }
}

function checkName(name: GeneralName, { permitted, excluded }: Constraints, certificate: Certificate, authority: Certificate): void {
  const refuse = (check: string): never => {
    throw new Refused('name-constraints', certificate.subject, `its name ${show(name, certificate)} ${check} the name constraints of the authority ${authority.subject}`);
  };
  if (name.form === 'other' && [...permitted, ...excluded].some((base) => base.form === 'other' && base.tag === name.tag)) refuse('is of a form that is not evaluated here but restricted by');
  if (excluded.some((base) => isWithin(name, base) || mayMeet(name, base))) refuse('is excluded by');
  const sameForm = permitted.filter(({ form }) => form === name.form);
  if (name.form !== 'other' && sameForm.length > 0 && !sameForm.some((base) => isWithin(name, base))) refuse('is not permitted by');
  if (name.form === 'uri' && [...permitted, ...excluded].some(({ form }) => form === 'uri') && hostOfUri(name.text) === undefined) refuse('has no host to compare with');
}

function show(name: GeneralName, certificate: Certificate): string {
  if (name.form === 'directory') return certificate.subject;
  return name.form === 'ip' || name.form === 'other' ? `(${name.form})` : JSON.stringify(name.text.slice(0, 80));
}

// ---------------------------------------------------------------- names

/** Subject, mail addresses in the subject, alternative names. */
function namesOf(certificate: Certificate): GeneralName[] {
  const { subjectRdns } = certificate;
  const alternative = certificate.extensions.get(oids.subjectAltName);
  const mails = subjectRdns.flat().filter(({ type }) => type === emailAddress).map(({ value }): GeneralName => ({ form: 'email', text: Buffer.from(value).toString('latin1') }));
  return [...(subjectRdns.length > 0 ? [{ form: 'directory', canonical: canonicalRdns(subjectRdns) } as const] : []), ...mails, ...(alternative ? readGeneralNames(alternative.value) : [])];
}

function isWithin(name: GeneralName, base: GeneralName): boolean {
  if (name.form === 'dns' && base.form === 'dns') return base.text === '' || isUnder(name.text.toLowerCase(), base.text.toLowerCase());
  if (name.form === 'email' && base.form === 'email') return mailWithin(name.text, base.text);
  if (name.form === 'uri' && base.form === 'uri') return hostWithin(hostOfUri(name.text), base.text.toLowerCase());
  if (name.form === 'ip' && base.form === 'ip') return addressWithin(name.bytes, base.bytes);
  if (name.form === 'directory' && base.form === 'directory') return startsWith(name.canonical, base.canonical);
  return false;
}

/** A wildcard name also stands for a name that is excluded one label under it. */
function mayMeet(name: GeneralName, base: GeneralName): boolean {
  if (name.form !== 'dns' || base.form !== 'dns' || !name.text.startsWith('*.')) return false;
  const [, rest] = /^[^.]+\.(.*)$/.exec(base.text.toLowerCase()) ?? [];
  return rest === name.text.slice(2).toLowerCase();
}

const isUnder = (name: string, base: string): boolean => name === base || name.endsWith(`.${base}`);

/** `.example.org`: hosts under it; `example.org`: that host. */
const hostWithin = (host: string | undefined, base: string): boolean => host !== undefined && (base === '' || (base.startsWith('.') ? host.endsWith(base) : host === base));

function mailWithin(mail: string, base: string): boolean {
  const ours = splitMailbox(mail);
  if (!base.includes('@')) return hostWithin(ours?.host ?? mail.slice(mail.lastIndexOf('@') + 1).toLowerCase(), base.toLowerCase());
  const theirs = splitMailbox(base);
  return ours !== undefined && ours.local === theirs?.local && ours.host === theirs.host;
}

function addressWithin(address: Uint8Array, base: Uint8Array): boolean {
  const size = base.length / 2;
  return address.length === size && address.every((byte, at) => ((byte ^ (base[at] ?? 0)) & (base[size + at] ?? 0)) === 0);
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && Buffer.compare(bytes.subarray(0, prefix.length), prefix) === 0;
}

// ---------------------------------------------------------------- the extension

const read = new WeakMap<Uint8Array, Constraints>();

function readConstraints(value: Uint8Array): Constraints {
  const known = read.get(value);
  if (known) return known;
  const reader = new DerReader(readOne(value, tags.sequence).body);
  const permitted = reader.optional(context(0));
  const excluded = reader.optional(context(1));
  reader.end();
  if (!permitted && !excluded) throw new DerError('empty name constraints');
  const constraints = { permitted: subtrees(permitted), excluded: subtrees(excluded) };
  read.set(value, constraints);
  return constraints;
}

/** `minimum` and `maximum` are never used (RFC 5280): anything behind the base is refused. */
function subtrees(list: Der | undefined): GeneralName[] {
  if (!list) return [];
  const trees = readChildren(list).map((subtree) => {
    const reader = new DerReader(subtree.body);
    const base = readGeneralName(reader.next());
    reader.end();
    checkBase(base);
    return base;
  });
  if (trees.length === 0) throw new DerError('an empty list of name constraints');
  return trees;
}

function checkBase(base: GeneralName): void {
  const bad = (what: string): never => {
    throw new DerError(`a name constraint that is no ${what}`);
  };
  if (base.form === 'dns' && base.text !== '' && !isHostName(base.text)) bad('DNS name');
  if (base.form === 'email' && base.text.includes('@') && !splitMailbox(base.text)) bad('mail address');
  if ((base.form === 'uri' || (base.form === 'email' && !base.text.includes('@'))) && base.text !== '' && !isHostName(base.text.replace(/^\./, ''))) bad('host name');
  if (base.form === 'ip' && !isMask(base.bytes)) bad('address with a mask');
}

function isMask(bytes: Uint8Array): boolean {
  if (bytes.length !== 8 && bytes.length !== 32) return false;
  const mask = [...bytes.subarray(bytes.length / 2)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(mask);
}
