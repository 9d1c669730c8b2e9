/** Attribute certificates (RFC 5755) as VOMS makes them, read strictly from a proxy's extension. Nothing is believed here. */
import { readExtensions, readCertificate, type Certificate, type Extension } from './certificate.js';
import { readName, canonicalRdns } from './dn.js';
import { context, DerError, DerReader, readBits, readChildren, readInteger, readOid, readOne, readSmall, readTime, sameBytes, tags, type Der } from './der.js';
import { readAlgorithm, type SignatureAlgorithm } from './signature.js';
import * as oids from './oids.js';

export interface AttributeCertificate {
  /** The signed part, the signature and its algorithm. */
  readonly content: Uint8Array;
  readonly signature: SignatureAlgorithm;
  readonly signatureValue: Uint8Array;
  /** Whom it speaks of: a name (canonical, hex) and the serial of an end entity. */
  readonly holder: { readonly nameKey: string; readonly serial: string };
  /** Canonical name of the VOMS server, hex. */
  readonly issuerKey: string;
  /** Unix ms. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** From the policy authority `vo://host:port`. */
  readonly vo: string;
  readonly host: string;
  /** In order, as they stand. */
  readonly fqans: readonly string[];
  readonly extensions: ReadonlyMap<string, Extension>;
  /** The server's certificate and those above it, if the AC brings them. */
  readonly certificates: readonly Certificate[];
}

const mostCertificates = 16;
const mostFqans = 1024;

/** The attribute certificates in a VOMS extension's value, each read when asked for: one that is malformed spoils itself only. */
export function splitAttributeCertificates(value: Uint8Array): Der[] {
  const [list, ...rest] = readChildren(readOne(value, tags.sequence), 2);
  if (list?.tag !== tags.sequence || rest.length > 0) throw new DerError('malformed list of attribute certificates');
  return readChildren(list, mostCertificates);
}

export function readAttributeCertificate(whole: Der): AttributeCertificate {
  if (whole.tag !== tags.sequence) throw new DerError('an attribute certificate is no sequence');
  const outer = new DerReader(whole.body);
  const content = outer.next(tags.sequence);
  const algorithm = outer.next(tags.sequence);
  const { bytes: signatureValue, unused } = readBits(outer.next());
  if (unused !== 0) throw new DerError('the signature is not whole bytes');
  outer.end();
  const reader = new DerReader(content.body);
  if (readSmall(reader.next()) !== 1) throw new DerError('attribute certificate of an unknown version');
  const holder = readHolder(reader.next(tags.sequence));
  const issuerKey = readIssuer(reader.next());
  if (!sameBytes(reader.next(tags.sequence).raw, algorithm.raw)) throw new DerError('the signature algorithm inside differs from the one outside');
  readInteger(reader.next());
  const [notBefore, notAfter, ...more] = readChildren(reader.next(tags.sequence), 2).map(readTime);
  if (notBefore === undefined || notAfter === undefined || more.length > 0) throw new DerError('malformed validity');
  const attributes = readAttributes(reader.next(tags.sequence));
  reader.optional(tags.bitString);
  const list = reader.optional(tags.sequence);
  reader.end();
  const extensions = list && list.body.length > 0 ? readExtensions(list) : new Map<string, Extension>();
  return { content: content.raw, signature: readAlgorithm(algorithm), signatureValue, holder, issuerKey, notBefore, notAfter, ...attributes, extensions, certificates: readCertificates(extensions.get(oids.vomsCertificates)) };
}

/** Only a holder by issuer and serial (baseCertificateID) is believed. */
function readHolder(value: Der): AttributeCertificate['holder'] {
  const reader = new DerReader(value.body);
  const base = reader.optional(context(0));
  if (!base) throw new DerError('the holder is not named by issuer and serial');
  const inner = new DerReader(base.body);
  const nameKey = readNames(inner.next(tags.sequence));
  const serial = Buffer.from(readInteger(inner.next())).toString('hex');
  return { nameKey, serial };
}

/** v2Form [0] with a directory name, as VOMS and RFC 5755 have it; or the older v1Form. */
function readIssuer(value: Der): string {
  if (value.tag === tags.sequence) return readNames(value);
  if (value.tag !== context(0)) throw new DerError('malformed issuer');
  return readNames(new DerReader(value.body).next(tags.sequence));
}

/** GeneralNames with exactly one name, a directory name. */
function readNames(value: Der): string {
  const [name, ...rest] = readChildren(value, 2);
  if (name?.tag !== context(4) || rest.length > 0) throw new DerError('a name that is not one directory name');
  return Buffer.from(canonicalRdns(readName(readOne(name.body, tags.sequence)))).toString('hex');
}

function readAttributes(list: Der): { vo: string; host: string; fqans: string[] } {
  for (const attribute of readChildren(list, 64)) {
    const reader = new DerReader(attribute.body);
    if (readOid(reader.next()) !== oids.vomsFqans) continue;
    const [value, ...rest] = readChildren(reader.next(tags.set), 2);
    if (!value || rest.length > 0) throw new DerError('malformed FQAN attribute');
    return readFqans(value);
  }
  throw new DerError('there are no FQANs in it');
}

/** IetfAttrSyntax: policy authority `vo://host:port`, then the FQANs as octet strings. */
function readFqans(value: Der): { vo: string; host: string; fqans: string[] } {
  const reader = new DerReader(value.body);
  const [authority] = readChildren(reader.next(context(0)), 2);
  const values = reader.next(tags.sequence);
  reader.end();
  const text = authority?.tag === context(6, false) ? Buffer.from(authority.body).toString('latin1') : '';
  const match = /^([A-Za-z0-9][A-Za-z0-9._-]{0,254}):\/\/([A-Za-z0-9][A-Za-z0-9.-]{0,254}):\d{1,5}$/.exec(text);
  if (!match) throw new DerError('its policy authority is not of the form VO://HOST:PORT');
  const fqans = readChildren(values, mostFqans).map(readFqan);
  if (fqans.length === 0) throw new DerError('there are no FQANs in it');
  return { vo: match[1] ?? '', host: (match[2] ?? '').toLowerCase(), fqans };
}

function readFqan(value: Der): string {
  const text = Buffer.from(value.body).toString('latin1');
  if ((value.tag !== tags.octetString && value.tag !== tags.utf8) || !/^(\/[A-Za-z0-9._=-]{1,255}){1,32}$/.test(text)) throw new DerError(`${JSON.stringify(text.slice(0, 80))} is no FQAN`);
  return text;
}

/** SEQUENCE { SEQUENCE OF Certificate }. */
function readCertificates(extension: Extension | undefined): Certificate[] {
  if (!extension) return [];
  const list = readChildren(readOne(extension.value, tags.sequence), mostCertificates);
  const inner = list.length === 1 && list[0] && isList(list[0]) ? readChildren(list[0], mostCertificates) : list;
  return inner.map(({ raw }) => readCertificate(raw));
}

/** A list of certificates, not a certificate: the first thing in its first member is a sequence of a sequence. */
function isList(value: Der): boolean {
  const first = new DerReader(value.body).next();
  return first.tag === tags.sequence && new DerReader(first.body).next().tag === tags.sequence;
}
